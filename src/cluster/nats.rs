//! The bus of NATS: one connection to one broker at a time.

use std::io;
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Subscriber};
use etracker_core::cluster::MESSAGE_MAX;
use etracker_runtime_common::Plain;
use etracker_tls_client::explain_io;
use futures_util::stream::{Select, select};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::access::{Access, Credentials};
use super::bus::{Bus, Happening};
use crate::options::Broker;

/// A connection to one of the brokers, which is made again whenever it is lost.
#[derive(Debug)]
pub(super) struct Nats {
    brokers: Vec<Broker>,
    access: Access,
    /// What is listened to.
    subjects: [String; 2],
    link: Link,
    /// Attempts that failed since the last that did not.
    failures: usize,
    warning: Option<String>,
}

#[derive(Debug)]
enum Link {
    /// The next attempt is made at this time.
    Waiting(Instant),
    Connecting(JoinHandle<Result<Session, String>>),
    Connected(Session),
}

#[derive(Debug)]
struct Session {
    client: Client,
    messages: Select<Subscriber, Subscriber>,
}

impl Nats {
    /// A bus that connects as soon as it is waited for.
    pub(super) fn new(brokers: Vec<Broker>, access: Access, subjects: [String; 2]) -> Self {
        Self {
            brokers,
            access,
            subjects,
            link: Link::Waiting(Instant::now()),
            failures: 0,
            warning: None,
        }
    }

    /// The broker whose turn it is: the first one, until it fails.
    fn broker(&self) -> Option<&Broker> {
        self.brokers
            .iter()
            .cycle()
            .nth(self.failures % self.brokers.len().max(1))
    }

    fn begin(&mut self) {
        let Some(broker) = self.broker().cloned() else {
            return;
        };
        let (options, subjects) = (self.access.options(&broker), self.subjects.clone());
        self.link = Link::Connecting(tokio::spawn(connect(broker, options, subjects)));
    }

    fn succeed(&mut self, session: Session) -> Happening {
        let broker = self.broker().map(Broker::to_string).unwrap_or_default();
        let payload_max = session.client.server_info().max_payload;
        if payload_max < MESSAGE_MAX {
            self.warning = Some(format!(
                "{broker} takes messages of {payload_max} bytes at most, and {MESSAGE_MAX} are needed: raise its max_payload"
            ));
        }
        self.failures = 0;
        self.link = Link::Connected(session);
        Happening::Connected(broker)
    }

    fn fail(&mut self, reason: &str) -> Happening {
        let broker = self.broker().map(Broker::to_string).unwrap_or_default();
        self.failures += 1;
        // Each broker is tried before the first is tried again.
        let rounds = u32::try_from(self.failures / self.brokers.len().max(1)).unwrap_or(u32::MAX);
        let backoff = match rounds {
            0 => Duration::ZERO,
            rounds => BACKOFF.saturating_mul(1 << rounds.min(BACKOFF_DOUBLINGS)),
        };
        self.link = Link::Waiting(Instant::now() + backoff);
        Happening::Failed(format!("{broker}: {reason}"))
    }
}

impl Bus for Nats {
    fn publish(&mut self, subject: &str, message: &[u8]) -> bool {
        let Link::Connected(session) = &self.link else {
            return false;
        };
        let published = session
            .client
            .publish(subject.to_owned(), message.to_vec().into())
            .now_or_never();
        // What fails is lost, as what a broker loses is: it is too long for the broker, or the connection ends just now.
        published.is_some()
    }

    async fn next(&mut self) -> Happening {
        if let Some(warning) = self.warning.take() {
            return Happening::Warned(warning);
        }
        loop {
            match &mut self.link {
                Link::Waiting(until) => {
                    sleep_until(*until).await;
                    self.begin();
                }
                Link::Connecting(task) => {
                    return match task.await {
                        Ok(Ok(session)) => self.succeed(session),
                        Ok(Err(reason)) => self.fail(&reason),
                        Err(error) => self.fail(&error.to_string()),
                    };
                }
                Link::Connected(session) => {
                    if let Some(message) = session.messages.next().await {
                        return Happening::Received(message.payload.into());
                    }
                    self.link = Link::Waiting(Instant::now());
                    return Happening::Disconnected;
                }
            }
        }
    }

    async fn flush(&mut self, patience: Duration) {
        if let Link::Connected(session) = &self.link {
            // Whether it succeeds is no matter to a process that ends.
            let _ = timeout(patience, session.client.flush()).await;
        }
    }
}

/// Connects to a broker and listens.
async fn connect(broker: Broker, options: ConnectOptions, subjects: [String; 2]) -> Result<Session, String> {
    let client = options.connect(broker.to_string()).await;
    let client = client.map_err(|error| in_plain_words(&error))?;
    let [all, own] = subjects;
    let listen = async |subject: String| client.subscribe(subject).await.map_err(|error| error.to_string());
    let messages = select(listen(all).await?, listen(own).await?);
    Ok(Session { client, messages })
}

impl Access {
    fn options(&self, broker: &Broker) -> ConnectOptions {
        let options = ConnectOptions::new()
            .name("etracker")
            .no_echo()
            // Those that the operator named are known to be encrypted, or meant not to be.
            .ignore_discovered_servers()
            // The library gives no reason when it connects again by itself. It tries once, at once.
            .max_reconnects(1)
            .require_tls(broker.tls)
            .tls_client_config(self.tls.clone())
            .connection_timeout(PATIENCE)
            .ping_interval(PING_PERIOD)
            .client_capacity(OUT_MAX)
            .subscription_capacity(IN_MAX);
        match &self.credentials {
            Credentials::None => options,
            Credentials::User(user, password) => options.user_and_password(user.clone(), password.clone()),
            Credentials::File(text) => match options.credentials(text) {
                Ok(options) => options,
                Err(_) => unreachable!("they were read before"),
            },
        }
    }
}

/// Why a broker cannot be reached, without the library's words where others say more.
fn in_plain_words(error: &ConnectError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            "the broker refuses the credentials (--cluster-credentials)".to_owned()
        }
        ConnectErrorKind::TimedOut => format!("no answer within {} s", PATIENCE.as_secs()),
        ConnectErrorKind::Dns => format!("the name leads to no address: {}", source.unwrap_or_default()),
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => source_of(error),
    }
}

fn source_of(error: &ConnectError) -> String {
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(io) if io.get_ref().is_some() => explain_io(io),
        Some(io) => Plain(io).to_string(),
        None => source.map_or_else(|| error.to_string(), ToString::to_string),
    }
}

/// How long a connection to a broker may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two pings: a broker that has not answered two is gone.
const PING_PERIOD: Duration = Duration::from_secs(5);
/// Messages that wait to be written at most: 4 MiB.
const OUT_MAX: usize = 64;
/// Messages of one subject that wait to be handled at most: 16 MiB. Those beyond are dropped, and counted as lost by their gap.
const IN_MAX: usize = 256;
/// The time until all brokers are tried again is twice this at first, and 6.4 seconds at most.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_DOUBLINGS: u32 = 6;
