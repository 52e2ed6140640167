//! A worker that is driven by hand, so that it does the same each time.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use etracker_runtime_common::{Control, ServeError, WorkerJob, work};
use smol::LocalExecutor;

use crate::epoll::{Epoll, Watched};
use crate::mechanism::Smol;
use crate::stop;
use crate::waiter::{Socket, Waiter};

/// A worker on this thread whose time stands still: nothing wakes it but its sockets, and it never waits for those.
pub struct Stepped {
    epoll: Epoll,
    /// Without it the worker would end.
    _control: Arc<Control>,
    work: Pin<Box<dyn Future<Output = Result<(), ServeError>>>>,
}

impl Stepped {
    /// A worker that has done nothing yet.
    ///
    /// # Errors
    /// The system has no epoll instance left.
    pub fn new(job: WorkerJob) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let executor = Rc::new(LocalExecutor::new());
        let (control, stop) = (Arc::clone(&job.control), stop(&job.control));
        let smol = Smol {
            executor: Rc::clone(&executor),
            waiter: WithoutTimers(epoll.clone()),
        };
        // It has yet to begin.
        epoll.waker().wake();
        let work = async move { executor.run(work(smol, job, stop)).await };
        Ok(Self {
            epoll,
            _control: control,
            work: Box::pin(work),
        })
    }

    /// Does all that there is to do.
    ///
    /// # Errors
    /// The worker cannot go on.
    pub fn step(&mut self) -> io::Result<Poll<Result<(), ServeError>>> {
        self.epoll.step(self.work.as_mut())
    }
}

impl fmt::Debug for Stepped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepped")
            .field("epoll", &self.epoll)
            .finish_non_exhaustive()
    }
}

/// Waits as [`Epoll`] does, and never for time to pass.
#[derive(Clone, Debug)]
struct WithoutTimers(Epoll);

impl Waiter for WithoutTimers {
    type Watched<S: Socket> = Watched<S>;

    fn new() -> io::Result<Self> {
        Epoll::new().map(Self)
    }

    fn watch<S: Socket>(&self, socket: S) -> io::Result<Watched<S>> {
        self.0.watch(socket)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        self.0.block_on(future)
    }

    fn look(&self) {
        self.0.look();
    }

    async fn sleep(_: Duration) {
        std::future::pending::<()>().await;
    }
}
