//! Records that travel together.

use alloc::vec::Vec;

use crate::Instant;
use crate::time::Minute;

use super::envelope::{BODY_MAX, Rejection};
use super::record::{RECORD_LEN_MAX, RECORD_LEN_MIN, Record};

/// The records of one message, in the order in which its node made them. A decoded one is valid as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    records: Vec<Record>,
}

impl Batch {
    /// The records.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Appends records to the body of a message that is sent at `clock`, until they are used up or take [`BATCH_LEN`] bytes.
    pub fn encode(clock: Instant, records: &mut impl Iterator<Item = Record>, out: &mut Vec<u8>) {
        let start = out.len();
        while out.len() - start < BATCH_LEN
            && let Some(record) = records.next()
        {
            record.encode(clock.minute(), out);
        }
    }

    /// Decodes the body of a message that was sent at `clock`.
    ///
    /// # Errors
    /// A record is malformed, or of another minute than the last [`RECORD_AGE_MAX_MINUTES`].
    pub fn decode(clock: Instant, mut body: &[u8]) -> Result<Self, Rejection> {
        let mut records = Vec::with_capacity((body.len() / RECORD_LEN_MIN).min(RECORDS_MAX));
        while !body.is_empty() {
            let record = Record::decode(clock.minute(), &mut body).ok_or(Rejection::Malformed)?;
            if is_absurd(clock.minute(), record.minute) {
                return Err(Rejection::Minute);
            }
            records.push(record);
        }
        Ok(Self { records })
    }
}

/// Whether no record of a batch of the minute `base` can be of `minute`.
const fn is_absurd(base: Minute, minute: Minute) -> bool {
    base.saturating_since(minute) > RECORD_AGE_MAX_MINUTES
}

/// Bytes of records after which a batch ends: large enough that a bus carries it well.
pub const BATCH_LEN: usize = 32 << 10;
/// Minutes that a record may be older than its batch: it waits while its node has no bus.
pub const RECORD_AGE_MAX_MINUTES: u32 = 15;
/// Records that one message can hold.
pub const RECORDS_MAX: usize = BODY_MAX / RECORD_LEN_MIN;

const _: () = assert!(BATCH_LEN + RECORD_LEN_MAX <= BODY_MAX);

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::vec;

    use quickcheck::quickcheck;

    use super::*;

    const CLOCK: Instant = Instant::from_secs(Record::BASE.get() as u64 * 60 + 30);

    fn encoded(records: &[Record]) -> Vec<u8> {
        let mut body = Vec::new();
        Batch::encode(CLOCK, &mut records.iter().copied(), &mut body);
        body
    }

    quickcheck! {
        fn a_batch_is_decoded_as_it_was_encoded(records: Vec<Record>) -> bool {
            let decoded = Batch::decode(CLOCK, &encoded(&records));
            decoded.is_ok_and(|batch| batch.records == records)
        }

        fn a_body_that_is_cut_holds_whole_records_or_is_refused(records: Vec<Record>, cut: usize) -> bool {
            let mut body = encoded(&records);
            body.truncate(cut % (body.len() + 1));
            match Batch::decode(CLOCK, &body) {
                Ok(batch) => batch.records == records[..batch.records.len()] && encoded(&batch.records) == body,
                Err(rejection) => rejection == Rejection::Malformed,
            }
        }

        fn whatever_a_body_holds_it_unpacks_to_a_bounded_number_of_records(body: Vec<u8>) -> bool {
            Batch::decode(CLOCK, &body).is_ok_and(|batch| batch.records.len() <= body.len() / RECORD_LEN_MIN)
                || !body.is_empty()
        }

        fn one_record_of_an_absurd_minute_spoils_its_batch(records: Vec<Record>, age: u8, place: usize) -> bool {
            let age = u32::from(age).max(1);
            let mut records = records;
            let Some(minute) = Record::BASE.get().checked_sub(age) else { return true };
            records.insert(place % (records.len() + 1), Record {
                minute: Minute::new(minute),
                ..records.first().copied().unwrap_or(ORDINARY)
            });
            let decoded = Batch::decode(CLOCK, &encoded(&records));
            if age > RECORD_AGE_MAX_MINUTES {
                decoded == Err(Rejection::Minute)
            } else {
                decoded.is_ok()
            }
        }
    }

    const ORDINARY: Record = Record {
        info_hash: crate::InfoHash([1; 20]),
        peer: crate::announce::Endpoint {
            ip: core::net::IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1)),
            port: 6881,
        },
        minute: Record::BASE,
        state: super::super::State::Seeder,
        been_seeder: false,
        again: false,
        completed: false,
        id: None,
    };

    #[test]
    fn a_batch_ends_before_its_message_is_too_long_and_the_rest_is_left() {
        let many = vec![
            Record {
                id: Some(crate::PeerId([9; 20])),
                ..ORDINARY
            };
            RECORDS_MAX
        ];
        let mut left = many.iter().copied();
        let mut body = Vec::new();
        Batch::encode(CLOCK, &mut left, &mut body);
        assert!((BATCH_LEN..=BODY_MAX).contains(&body.len()));
        assert_eq!(body.len() / ORDINARY_LEN_WITH_ID + left.count(), many.len());
    }

    const ORDINARY_LEN_WITH_ID: usize = 48;

    #[test]
    fn a_record_of_a_later_minute_than_its_batch_is_written_as_of_that() {
        let later = CLOCK.saturating_add(Duration::from_secs(300)).minute();
        let body = encoded(&[Record {
            minute: later,
            ..ORDINARY
        }]);
        assert_eq!(Batch::decode(CLOCK, &body).unwrap().records, [ORDINARY]);
    }
}
