//! The manual page, in the language of `man`.

use bpaf::doc::Section;

use super::arguments;
use super::commands::COMMANDS;
use crate::revision;

/// The whole page.
pub(super) fn page() -> String {
    let options = arguments::grammar().render_manpage(
        "etracker",
        Section::General,
        revision::date(),
        Some("etracker"),
        Some("etracker"),
    );
    let mut commands = String::new();
    for (word, what) in COMMANDS {
        commands += &format!(".TP\n\\fBetracker {word}\\fR\n{what}\n");
    }
    // The title of a page is in capitals.
    let options = options.replacen(".TH etracker", ".TH ETRACKER", 1);
    let page = without_idle_macros(&options);
    format!("{page}{}", SECTIONS.replace("@COMMANDS@\n", &commands))
}

/// The page without paragraphs that begin nothing: formatters warn of each.
fn without_idle_macros(page: &str) -> String {
    let mut kept = String::new();
    let mut lines = page.lines().filter(|line| !line.trim().is_empty()).peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or(".SH");
        let is_idle = line == ".PP"
            && [".PP", ".TP", ".SH", ".SS"]
                .iter()
                .any(|other| next.starts_with(other));
        if !is_idle {
            kept.push_str(line.trim_end());
            kept.push('\n');
        }
    }
    kept
}

/// What the grammar of options does not say.
const SECTIONS: &str = r".SH COMMANDS
Without a command etracker serves until a signal ends it.
@COMMANDS@
.PP
\fBcheck\fR and \fBdoctor\fR take the options that the tracker is to be
started with.
\fBdoctor \-\-json\fR prints an object: \fIworst\fR is ok, warning or fault,
\fIcounts\fR has the number of each, and \fIfindings\fR
an array of objects with \fIgrade\fR, \fIabout\fR, \fIwhat\fR and
\fIremedy\fR, which is null where nothing is to do.
.SH SIGNALS
.TP
\fBSIGINT\fR, \fBSIGTERM\fR
End the tracker: requests that have arrived are answered, and the state is
written.
.TP
\fBSIGHUP\fR
Read lists, certificates and secrets of a cluster again. Files that cannot be
used leave the old ones in force, and the log says why.
.SH EXIT STATUS
.TP
.B 0
The tracker ended as it was told to, the configuration is accepted, or doctor
found no fault.
.TP
.B 1
The tracker could not start, or failed later; files of the configuration are
refused; doctor found a fault.
.TP
.B 2
The options are refused. A further start with the same ones fails too.
.SH ENVIRONMENT
Each option can be given as a variable:
.B ETRACKER_
and the option's long name in capitals, with underscores for dashes. The
command line comes first.
.TP
.B ETRACKER_PORT=6969
The value of \fB\-\-port\fR.
.TP
.B ETRACKER_KEEP_ALIVE=true
A switch is true or false.
.TP
.B ETRACKER_BIND=127.0.0.1,::1
Commas separate the values of an option that is repeatable.
.TP
.B LISTEN_FDS\fR, \fBNOTIFY_SOCKET\fR, \fBWATCHDOG_USEC
Sockets that systemd passes, and where it is told how the tracker goes.
.SH FILES
.TP
.I /etc/default/etracker
The environment of the service of the Debian package.
.TP
.I /var/lib/etracker/state
The torrents and peers that the service keeps over restarts.
.TP
.I /var/lib/etracker/acme
Account and certificates of \fB\-\-acme\fR, unless \fB\-\-acme\-state\fR or
\fB\-\-state\fR name another folder.
.SH EXAMPLES
.TP
.B etracker \-p 6969
Serve HTTP and UDP on port 6969.
.TP
.B etracker doctor \-p 6969 \-\-min\-interval 300
See whether this host is fit to serve the public.
.TP
.B etracker check \-\-deny\-list /etc/etracker/denied && systemctl reload etracker
Have a list read again only if it can be used.
.TP
.B etracker completions bash >/etc/bash_completion.d/etracker
Complete options in bash.
.SH SEE ALSO
.BR etracker\-client (1)
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_what_options_do_not_say() {
        let page = page();
        for section in [
            "COMMANDS",
            "SIGNALS",
            "EXIT STATUS",
            "ENVIRONMENT",
            "FILES",
            "EXAMPLES",
            "SEE ALSO",
        ] {
            let heading = format!("\n.SH {section}\n");
            assert_eq!(page.matches(&heading).count(), 1, "{section}");
        }
        let title = page
            .lines()
            .find(|line| line.starts_with(".TH"))
            .expect("a title");
        assert!(title.contains(revision::date().unwrap_or("-")), "{title}");
        assert!(!page.contains("\n.PP\n.PP"), "{page}");
    }
}
