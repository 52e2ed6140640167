//! Completions for shells. The scripts hold all there is to complete, and run nothing of what is typed.

use std::fmt::Write as _;

use super::catalogue::{Entry, Values, entries};
use super::commands::{CLUSTER, COMMANDS, COMPLETIONS, DOCTOR, JSON, SECRET};

/// The script for this shell; `None` if it is not known.
pub(super) fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash(&entries())),
        "zsh" => Some(zsh(&entries())),
        "fish" => Some(fish(&entries())),
        _ => None,
    }
}

fn bash(entries: &[Entry]) -> String {
    let mut cases = String::new();
    let mut write = |pattern: &str, action: &str| {
        // A String takes everything.
        let _ = writeln!(
            cases,
            "        {pattern})\n            {action}\n            return ;;"
        );
    };
    write(COMPLETIONS, &bash_words(&SHELLS.join(" ")));
    write(CLUSTER, &bash_words(SECRET));
    for entry in entries {
        let pattern = match entry.short {
            Some(short) => format!("-{short} | --{}", entry.long),
            None => format!("--{}", entry.long),
        };
        match entry.values() {
            None => {}
            Some(Values::Any) => write(&pattern, ":"),
            Some(Values::Words(words)) => write(&pattern, &bash_words(&words.join(" "))),
            Some(Values::Files) => write(&pattern, &bash_paths("-f")),
            Some(Values::Folders) => write(&pattern, &bash_paths("-d")),
            Some(Values::Users) => write(&pattern, &bash_compgen("-u")),
        }
    }
    let options: Vec<String> = entries.iter().map(|entry| format!("--{}", entry.long)).collect();
    let commands = COMMANDS.map(|(word, _)| word).join(" ");
    BASH.replace("@CASES@\n", &cases)
        .replace("@COMMANDS@", &commands)
        .replace("@DOCTOR@", DOCTOR)
        .replace("@JSON@", JSON)
        .replace("@OPTIONS@", &options.join(" "))
}

fn bash_words(words: &str) -> String {
    bash_compgen(&format!("-W '{words}'"))
}

fn bash_paths(kind: &str) -> String {
    format!(
        "compopt -o filenames 2>/dev/null\n            {}",
        bash_compgen(kind)
    )
}

fn bash_compgen(what: &str) -> String {
    format!("mapfile -t COMPREPLY < <(compgen {what} -- \"$current\")")
}

fn zsh(entries: &[Entry]) -> String {
    let mut specs = String::new();
    for entry in entries {
        let Entry { short, long, .. } = entry;
        let what = entry
            .what
            .replace('\\', "\\\\")
            .replace('[', "\\[")
            .replace(']', "\\]");
        let equals = if entry.metavar.is_some() { "=" } else { "" };
        let action = match entry.values() {
            None => String::new(),
            Some(Values::Any) => ":value: ".to_owned(),
            Some(Values::Words(words)) => format!(":value:({})", words.join(" ")),
            Some(Values::Files) => ":file:_files".to_owned(),
            Some(Values::Folders) => ":folder:_files -/".to_owned(),
            Some(Values::Users) => ":user:_users".to_owned(),
        };
        // A repeatable option can be given again.
        let again = if entry.is_repeatable() { "*" } else { "" };
        let spec = format!("[{what}]{action}").replace('\'', "'\\''");
        if let Some(short) = short {
            let plus = if entry.metavar.is_some() { "+" } else { "" };
            let _ = writeln!(specs, "        '{again}-{short}{plus}{spec}' \\");
        }
        let _ = writeln!(specs, "        '{again}--{long}{equals}{spec}' \\");
    }
    let commands: String = COMMANDS
        .iter()
        .map(|(word, what)| format!("        '{word}:{what}'\n"))
        .collect();
    ZSH.replace("@SPECS@\n", &specs)
        .replace("@COMMANDS@\n", &commands)
        .replace("@SHELLS@", &SHELLS.join(" "))
        .replace("@DOCTOR@", DOCTOR)
        .replace("@JSON@", JSON)
        .replace("@SECRET@", SECRET)
}

fn fish(entries: &[Entry]) -> String {
    let mut script = "complete -c etracker -f\n".to_owned();
    for (word, what) in COMMANDS {
        let _ = writeln!(
            script,
            "complete -c etracker -n __fish_is_first_arg -a {word} -d '{what}'"
        );
    }
    let seen = "__fish_seen_subcommand_from";
    let shells = SHELLS.join(" ");
    let _ = writeln!(
        script,
        "complete -c etracker -n '{seen} {COMPLETIONS}' -a '{shells}'"
    );
    let _ = writeln!(script, "complete -c etracker -n '{seen} {CLUSTER}' -a {SECRET}");
    let json = JSON.trim_start_matches('-');
    let _ = writeln!(
        script,
        "complete -c etracker -n '{seen} {DOCTOR}' -l {json} -d 'Findings for programs'"
    );
    for entry in entries {
        let short = entry
            .short
            .map_or_else(String::new, |short| format!(" -s {short}"));
        let values = match entry.values() {
            None => String::new(),
            Some(Values::Any) => " -x".to_owned(),
            Some(Values::Words(words)) => format!(" -x -a '{}'", words.join(" ")),
            Some(Values::Files) => " -r -F".to_owned(),
            Some(Values::Folders) => " -x -a '(__fish_complete_directories)'".to_owned(),
            Some(Values::Users) => " -x -a '(__fish_complete_users)'".to_owned(),
        };
        let what = entry.what.replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(
            script,
            "complete -c etracker{short} -l {}{values} -d '{what}'",
            entry.long
        );
    }
    script
}

/// The shells that there are completions for.
pub(super) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// `=` is a word of its own in `COMP_WORDS`.
const BASH: &str = r#"# Completions of etracker for bash: source <(etracker completions bash)
_etracker() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [ "$current" = = ]; then
        current=
    elif [ "$previous" = = ]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $previous in
@CASES@
    esac
    local words='@OPTIONS@'
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="@COMMANDS@ $words"
    elif [ "${COMP_WORDS[1]}" = @DOCTOR@ ]; then
        words="@JSON@ $words"
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _etracker etracker
"#;

const ZSH: &str = r#"#compdef etracker
# Completions of etracker for zsh: source <(etracker completions zsh), or a file _etracker in a folder of $fpath
_etracker() {
    local -a commands more
    commands=(
@COMMANDS@
    )
    if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then
        _describe command commands
        return
    fi
    case $words[2] in
        completions) _values shell @SHELLS@; return ;;
        cluster) _values word @SECRET@; return ;;
        @DOCTOR@) more=('@JSON@[Findings for programs]') ;;
    esac
    _arguments -S \
@SPECS@
        $more '*: : '
}
if [ "$funcstack[1]" = _etracker ]; then
    _etracker "$@"
else
    compdef _etracker etracker
fi
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_every_option() {
        for shell in SHELLS {
            let script = script(shell).expect("a script");
            for entry in entries() {
                let long = &entry.long;
                let is_there =
                    script.contains(&format!("--{long}")) || script.contains(&format!("-l {long} "));
                assert!(is_there, "{long} is missing for {shell}");
            }
            for (word, _) in COMMANDS {
                assert!(script.contains(word), "{word} is missing for {shell}");
            }
        }
        assert_eq!(script("csh"), None);
    }
}
