//! Runs the tasks of one worker, round by round.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::reactor::{Bell, Reactor};

/// The tasks of one worker, and what they wait for.
pub(super) struct Executor {
    reactor: Rc<Reactor>,
    /// By number. A task that runs is not in its place, which is not free then.
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<usize>>,
    woken: Arc<Woken>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks to poll, by their numbers.
struct Woken {
    numbers: Mutex<VecDeque<usize>>,
    bell: Bell,
}

impl Executor {
    pub(super) fn new() -> io::Result<Self> {
        let (reactor, bell) = Reactor::new()?;
        Ok(Self {
            reactor: Rc::new(reactor),
            tasks: RefCell::default(),
            free: RefCell::default(),
            woken: Arc::new(Woken {
                numbers: Mutex::default(),
                bell,
            }),
        })
    }

    pub(super) fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    /// What has the future of [`run`](Self::run) polled again.
    pub(super) fn main_waker(&self) -> Waker {
        self.waker(MAIN)
    }

    pub(super) fn spawn(&self, task: Task) {
        let mut tasks = self.tasks.borrow_mut();
        let number = self.free.borrow_mut().pop().unwrap_or_else(|| {
            tasks.push(None);
            tasks.len() - 1
        });
        tasks[number] = Some(task);
        self.waker(number).wake();
    }

    /// Runs all tasks until `main` is done, and drops them then.
    pub(super) fn run<T>(&self, main: impl Future<Output = T>) -> io::Result<T> {
        let (mut main, waker) = (pin!(main), self.main_waker());
        waker.wake_by_ref();
        let done = loop {
            // Those that are woken meanwhile are polled in the next round, after a look at what is ready.
            for number in self.woken.take() {
                if number != MAIN {
                    self.poll(number);
                } else if let Poll::Ready(done) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    self.drop_tasks();
                    return Ok(done);
                }
            }
            if let Err(error) = self.reactor.wait(self.woken.is_empty()) {
                break error;
            }
        };
        self.drop_tasks();
        Err(done)
    }

    fn poll(&self, number: usize) {
        let task = self.tasks.borrow_mut().get_mut(number).and_then(Option::take);
        let Some(mut task) = task else {
            return;
        };
        let waker = self.waker(number);
        let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            self.tasks.borrow_mut()[number] = Some(task);
        } else {
            // What it held is given up before another task has its number.
            drop(task);
            self.free.borrow_mut().push(number);
        }
    }

    fn drop_tasks(&self) {
        let tasks = self.tasks.take();
        drop(tasks);
    }

    fn waker(&self, number: usize) -> Waker {
        Waker::from(Arc::new(TaskWaker {
            number,
            woken: Arc::clone(&self.woken),
        }))
    }
}

impl Woken {
    fn take(&self) -> VecDeque<usize> {
        std::mem::take(&mut *self.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        self.numbers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

struct TaskWaker {
    number: usize,
    woken: Arc<Woken>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut numbers = self.woken.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if !numbers.contains(&self.number) {
            numbers.push_back(self.number);
            self.woken.bell.ring();
        }
    }
}

/// The number of the future that [`Executor::run`] is given.
const MAIN: usize = usize::MAX;
