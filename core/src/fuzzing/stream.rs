//! The bytes of a connection, in one piece and in many.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::bencode::Value;
use crate::http::{self, Connection, LANDING_PAGE, REPLY_MAX, Response, Step};
use crate::{Config, Worker};

use super::{NOW, address, take, worker};

/// Input: a byte of settings, a byte that chooses the length of pieces, and the bytes of a client. Answers do not depend on how
/// the bytes are cut. Every answer is HTTP of the right length, with a body of canonical bencode or the landing page. The same
/// bytes are decoded as a response too, whose body is never longer than they are.
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

/// Feeds `pieces` to a new connection, and returns each write of the connection in order.
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
                assert!(piece.is_some(), "Step::Write({len}) exceeds the reply buffer");
                written.push(piece.unwrap_or_default().to_vec());
            }
        }
        step = connection.respond(NOW, worker, reply);
    }
}

/// Checks that each answer begins with a write. Only the last answer may end with the connection instead of by its own length.
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
        assert!(
            response.is_ok(),
            "the last answer is incomplete, though the connection has ended"
        );
        if let Ok(Some(response)) = response {
            check_body(&response);
        }
    }
}

fn check_body(response: &Response) {
    // A new front has no pages and a new worker is not overloaded, so neither 429 nor 503 occurs.
    assert!(
        matches!(response.status, 200 | 400 | 403 | 404 | 405 | 408 | 413),
        "status {}",
        response.status
    );
    if response.status == 200 && response.body == LANDING_PAGE {
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
                "a response is longer than its input"
            );
        }
    }
}

const INPUT_MAX: usize = 64 * 1024;
