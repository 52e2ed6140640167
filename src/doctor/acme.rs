//! Judges the way to certificates from an ACME directory.

use std::net::IpAddr;

use super::facts::Facts;
use super::finding::{Finding, ok, warning};
use crate::acme::{Look, PORT};

/// Judges what was looked at; nothing without `--acme`.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let Some(look) = &facts.acme else {
        return Vec::new();
    };
    let Look {
        directory,
        names,
        unserved,
        tls_port,
    } = look;
    let mut findings = vec![reached(
        &directory.0,
        directory.1.as_ref().err().map(String::as_str),
    )];
    findings.push(proofs(*tls_port));
    findings.extend(names.iter().map(|(name, found)| leads(name, found)));
    findings.extend(unserved.iter().map(|(name, why)| not_served(name, why)));
    findings
}

fn reached(url: &str, error: Option<&str>) -> Finding {
    let about = "ACME directory";
    match error {
        None => ok(about, format!("{url} answers")),
        Some(error) => warning(
            about,
            format!("{url}: {error}"),
            "let HTTPS out, and have names resolved here (etc/resolv.conf in a new root); --acme-ca FILE for a directory of your own",
        ),
    }
}

fn proofs(tls_port: u16) -> Finding {
    let about = "ACME port";
    if tls_port == PORT {
        return ok(
            about,
            format!("directories connect to port {PORT}, which is --tls-port"),
        );
    }
    warning(
        about,
        format!("directories connect to port {PORT}, and --tls-port is {tls_port}"),
        format!("--tls-port {PORT}, or have a router or a firewall forward port {PORT} to {tls_port}"),
    )
}

fn leads(name: &str, found: &Result<Vec<IpAddr>, String>) -> Finding {
    let about = format!("ACME {name}");
    match found {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            ok(
                &about,
                format!("leads to {}: each must be this host", addresses.join(", ")),
            )
        }
        Err(error) => warning(
            &about,
            format!("leads nowhere: {error}"),
            "an address of this host in the DNS, A or AAAA: no directory issues a certificate without",
        ),
    }
}

fn not_served(name: &str, why: &str) -> Finding {
    warning(
        &format!("ACME {name}"),
        format!("its certificate is kept and cannot be served: {why}"),
        "nothing, or remove the file: the tracker orders a new one at once",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Grade;

    #[test]
    fn what_keeps_a_directory_from_looking_is_a_warning() {
        assert_eq!(reached("https://ca/dir", None).grade, Grade::Ok);
        let unreached = reached("https://ca/dir", Some("Connection refused"));
        assert_eq!(
            (unreached.grade, &*unreached.what),
            (Grade::Warning, "https://ca/dir: Connection refused")
        );
        assert_eq!(proofs(443).grade, Grade::Ok);
        let elsewhere = proofs(6970);
        assert_eq!(elsewhere.grade, Grade::Warning);
        assert!(
            elsewhere
                .remedy
                .is_some_and(|remedy| remedy.contains("forward port 443 to 6970"))
        );
    }

    #[test]
    fn a_name_without_address_is_a_warning() {
        let here = Ok(vec![IpAddr::from([192, 0, 2, 7])]);
        assert_eq!(
            leads("a.example", &here).what,
            "leads to 192.0.2.7: each must be this host"
        );
        let kept = not_served("a.example", "the certificate is for b.example");
        assert_eq!(kept.grade, Grade::Warning);
        let nowhere = leads("a.example", &Err("Name or service not known".to_owned()));
        assert_eq!(nowhere.grade, Grade::Warning);
    }
}
