//! The serving process under a supervisor.

use std::env;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::thread;

use etracker_core::Seed;
use etracker_runtime_common::Control;

use crate::terminal::complain;

/// The variable that marks the serving process of a supervisor.
pub(crate) const SUPERVISED: &str = "ETRACKER_SUPERVISED";

/// The pipe from the supervisor of this process.
#[derive(Debug)]
pub(crate) struct Lifeline {
    seed: Seed,
}

impl Lifeline {
    /// Reads the seed from the supervisor; `None` without one.
    ///
    /// # Errors
    /// The pipe is closed: the variable is set without a supervisor.
    pub(crate) fn take() -> io::Result<Option<Self>> {
        if !is_supervised() {
            return Ok(None);
        }
        let mut bytes = [0; 32];
        io::stdin().read_exact(&mut bytes)?;
        let seed = Seed::new(bytes);
        Ok(Some(Self { seed }))
    }

    /// The seed of the connection ids, the same for all serving processes of one supervisor.
    pub(crate) const fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Starts a thread that stops the workers when the supervisor ends.
    ///
    /// # Errors
    /// The system has no more threads.
    pub(crate) fn follow(self, control: &Arc<Control>) -> io::Result<()> {
        let control = Arc::clone(control);
        let follow = move || {
            // The supervisor writes nothing more: any return of the read means that it is gone.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            if !control.is_stopping() {
                complain("the supervisor is gone: stopping");
                control.stop();
            }
        };
        let thread = thread::Builder::new().name("lifeline".to_owned());
        thread.spawn(follow).map(drop)
    }
}

/// Whether a supervisor started this process.
pub(crate) fn is_supervised() -> bool {
    env::var_os(SUPERVISED).is_some_and(|value| !value.is_empty())
}
