//! `etracker check`: what a start would refuse of options and their files, without opening a port.

use crate::exit::{EXIT_FAILURE, EXIT_SUCCESS};
use crate::failure::Failure;
use crate::options::Options;
use crate::steps::{MANAGER, PORT, PRIVILEGED, Ready, UNPRIVILEGED};
use crate::terminal::{complain, say};

/// Performs the steps of a start that concern the configuration, all of them even if one fails, and tells each failure in a line. Returns
/// the exit status. It changes only this process, which may have dropped its privileges afterwards.
pub(crate) fn run(options: &Options) -> u8 {
    if !options.unknown_variables.is_empty() {
        let names = options.unknown_variables.join(", ");
        complain(format_args!("not an option, and ignored: {names}"));
    }
    let mut ready = Ready::default();
    let mut refused = false;
    let steps = PRIVILEGED.iter().chain(UNPRIVILEGED);
    // A tracker that runs has the port, and its service manager is none of the configuration.
    for step in steps.filter(|step| ![PORT, MANAGER].contains(&step.about)) {
        if let Err(failure) = step.take(options, &mut ready, &|line| say(line)) {
            refused = true;
            complain(&failure);
            if matches!(failure, Failure::Privileges(_)) {
                // Run as root, the further steps would pass where the tracker fails.
                break;
            }
        }
    }
    if let Some(certificates) = &ready.certificates {
        certificates.complain_of_flaws();
    }
    if refused {
        return EXIT_FAILURE;
    }
    say("The configuration is accepted");
    EXIT_SUCCESS
}
