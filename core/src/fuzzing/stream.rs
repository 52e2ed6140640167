//! The bytes of a connection, in one piece and in many.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::bencode::Value;
use crate::http::{self, Connection, FRONT, REPLY_MAX, Response, Step};
use crate::{Config, Worker};

use super::{NOW, address, take, worker};

/// A byte of settings, a byte that says how the input is cut, and the bytes of a client. Pieces get the same answers as the whole.
/// Every answer is HTTP of the right length, with a body of canonical bencode or the front page. Decoded as a response, the input
/// gives no body longer than itself.
pub fn http_stream(mut data: &[u8]) {
    let settings = take(&mut data);
    let cut = usize::from(take(&mut data)) % 64 + 1;
    // A longer input reaches nothing that a shorter one does not.
    let data = data.get(..INPUT_MAX).unwrap_or(data);
    let whole = converse(settings, core::iter::once(data));
    let split = converse(settings, data.chunks(cut));
    assert!(whole == split, "pieces of {cut} bytes are answered otherwise");
    // Answers to HEAD have a length and no body: without the requests their ends are not known.
    if !data.windows(4).any(|window| window == b"HEAD") {
        check(&whole);
    }
    read_as_answer(data);
}

/// All pieces written, one after the other.
fn converse<'a>(settings: u8, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let config = Config::default()
        .with_keep_alive(settings & 1 != 0)
        .with_full_scrape(settings & 2 != 0);
    let config = if settings & 4 == 0 {
        config
    } else {
        config.with_trusted_proxies(vec![address(1, false).into()])
    };
    let mut worker = worker(config);
    let peer = SocketAddr::new(address(1, settings & 8 != 0), 4000);
    let front = Arc::new(http::Front::new(worker.tracker().config()));
    let mut connection = Connection::new(NOW, peer, &front);
    let mut reply = vec![0; REPLY_MAX];
    let mut written = Vec::new();
    for piece in pieces {
        let step = connection.receive(NOW, piece, &mut worker, &mut reply);
        if !follow(&mut connection, step, &mut worker, &mut reply, &mut written) {
            return written;
        }
    }
    let step = connection.end_of_input(NOW, &mut worker, &mut reply);
    follow(&mut connection, step, &mut worker, &mut reply, &mut written);
    written
}

/// Performs steps until the connection reads; false if it closes.
fn follow(
    connection: &mut Connection,
    mut step: Step,
    worker: &mut Worker,
    reply: &mut [u8],
    written: &mut Vec<Vec<u8>>,
) -> bool {
    loop {
        match step {
            Step::Read => return true,
            Step::Close => return false,
            Step::Again => {}
            Step::Write(len) => {
                let piece = reply.get(..len);
                assert!(piece.is_some(), "more is written than there is");
                written.push(piece.unwrap_or_default().to_vec());
            }
        }
        step = connection.respond(NOW, worker, reply);
    }
}

/// Checks that each answer begins with a piece. Only the last answer may lack its end, if the connection ends within it.
fn check(written: &[Vec<u8>]) {
    let mut answer = Vec::new();
    for piece in written {
        answer.extend_from_slice(piece);
        let response = Response::decode(&answer, false);
        assert!(response.is_ok(), "an answer is not HTTP");
        if let Ok(Some(response)) = response {
            check_body(&response);
            answer.clear();
        }
    }
    if !answer.is_empty() {
        let response = Response::decode(&answer, true);
        assert!(response.is_ok(), "the last answer has no end");
        if let Ok(Some(response)) = response {
            check_body(&response);
        }
    }
}

fn check_body(response: &Response) {
    assert!(
        matches!(response.status, 200 | 400..=413),
        "status {}",
        response.status
    );
    if response.status == 200 && response.body == FRONT {
        return;
    }
    let value = Value::parse(&response.body);
    assert!(value.is_ok(), "the body is not canonical bencode");
    let is_dictionary = value.is_ok_and(|value| value.as_dictionary().is_some());
    assert!(is_dictionary, "the body is no dictionary");
}

fn read_as_answer(data: &[u8]) {
    for ended in [false, true] {
        if let Ok(Some(response)) = Response::decode(data, ended) {
            assert!(
                response.body.len() <= response.len && response.len <= data.len(),
                "an answer is longer than what came"
            );
        }
    }
}

const INPUT_MAX: usize = 64 * 1024;
