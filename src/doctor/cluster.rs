//! Judges the cluster: whether a broker is there, and whether the other nodes agree.

use etracker_core::cluster::{CLOCK_DIFFERENCE_MAX, Rejection};

use super::finding::{Finding, ok, warning};
use crate::members::{ClusterState, MemberState};

/// Judges what was heard; nothing without `--cluster`.
pub(super) fn judge(heard: Option<&ClusterState>) -> Vec<Finding> {
    let Some(heard) = heard else {
        return Vec::new();
    };
    let Some(broker) = &heard.broker else {
        let fault = heard.fault.as_deref().unwrap_or("no broker answers");
        return vec![warning(BROKER, fault, BROKER_REMEDY)];
    };
    let mut findings = vec![ok(BROKER, format!("{broker} answers"))];
    let foreign = heard.figures.rejected(Rejection::Mac) + heard.figures.rejected(Rejection::Name);
    if foreign > 0 {
        let what = format!("{foreign} messages are signed with another secret");
        findings.push(warning("cluster secret", what, SECRET_REMEDY));
    }
    if heard.members.is_empty() {
        findings.push(ok("cluster", "no other node is heard".to_owned()));
    }
    findings.extend(heard.members.iter().map(member));
    findings
}

fn member(member: &MemberState) -> Finding {
    let about = format!("node {}", member.name);
    let behind = member.clock_behind_millis;
    if member.clock_differs {
        let what = format!(
            "its clock differs by {behind} ms, and by {} s at most it may",
            CLOCK_DIFFERENCE_MAX.as_secs()
        );
        return warning(&about, what, CLOCK_REMEDY);
    }
    let whole = if member.whole { "whole" } else { "joining" };
    ok(
        &about,
        format!(
            "{}, version {}, {} peers, its clock within {} ms",
            whole,
            member.version,
            member.peers,
            behind.abs()
        ),
    )
}

const BROKER: &str = "cluster broker";
const BROKER_REMEDY: &str =
    "start the broker (nats-server), or name another one: until then this tracker is alone, and serves";
const SECRET_REMEDY: &str =
    "the same --cluster-secret on all nodes, or another --cluster-name for the others";
const CLOCK_REMEDY: &str = "set the clocks of both by NTP, and restart the tracker whose clock was wrong";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Grade;

    fn heard(broker: Option<&str>, members: Vec<MemberState>) -> ClusterState {
        ClusterState {
            broker: broker.map(str::to_owned),
            fault: Some("nats://b: Connection refused".to_owned()),
            members,
            ..ClusterState::default()
        }
    }

    #[test]
    fn without_a_broker_that_is_all_there_is_to_say() {
        let findings = judge(Some(&heard(None, Vec::new())));
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (findings[0].grade, &*findings[0].what),
            (Grade::Warning, "nats://b: Connection refused")
        );
        assert!(judge(None).is_empty());
    }

    #[test]
    fn a_clock_that_differs_is_a_warning_and_one_that_does_not_is_told() {
        let member = |name: &str, differs| MemberState {
            name: name.to_owned(),
            clock_differs: differs,
            clock_behind_millis: -6000,
            ..MemberState::default()
        };
        let findings = judge(Some(&heard(
            Some("nats://b"),
            vec![member("a", false), member("b", true)],
        )));
        let grades: Vec<_> = findings.iter().map(|finding| finding.grade).collect();
        assert_eq!(grades, [Grade::Ok, Grade::Ok, Grade::Warning]);
        assert!(findings[2].what.contains("-6000 ms") && findings[1].what.contains("within 6000 ms"));
    }
}
