//! How a task lets others have their turn.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use glommio::timer;

/// Lets every other task of this executor go on, those too that wait at its rings.
pub(crate) async fn yield_now() {
    // As long as a task can go on, the executor does not look at its rings, and those who wait there wait on. It
    // does when there is none. A timer whose time is over when it is first polled has not waited: it takes a longer one.
    let mut micros = 1;
    let mut nap = pin!(timer::sleep(Duration::from_micros(micros)));
    let mut has_waited = false;
    poll_fn(|cx| {
        while nap.as_mut().poll(cx).is_ready() {
            if has_waited {
                return Poll::Ready(());
            }
            micros *= 2;
            nap.set(timer::sleep(Duration::from_micros(micros)));
        }
        has_waited = true;
        Poll::Pending
    })
    .await;
}
