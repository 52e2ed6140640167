//! The counts of a worker.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one thread raises and any thread reads, without locked instructions.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Count {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Count {
            /// Every count, in the order of the stats page.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Whether this counts requests that were refused, left unanswered or not understood.
            #[must_use]
            pub const fn is_refusal(self) -> bool {
                matches!(
                    self,
                    Self::UdpMalformed
                        | Self::UdpUnproven
                        | Self::UdpDenied
                        | Self::UdpUnnamed
                        | Self::AcceptDenied
                        | Self::HttpForeign
                        | Self::HttpProxyMalformed
                        | Self::TlsPlain
                        | Self::TlsMalformed
                        | Self::TlsIncompatible
                        | Self::TlsUncertified
                        | Self::ShedTls
                        | Self::Http400
                        | Self::Http403
                        | Self::Http404
                        | Self::Http405
                        | Self::Http408
                        | Self::Http413
                        | Self::Http429
                        | Self::Http503
                        | Self::ShedFullScrape
                        | Self::ShedPage
                        | Self::ShedConnect
                        | Self::ShedScrape
                        | Self::ShedNewPeer
                        | Self::RefusedImpossibleAddress
                        | Self::RefusedPrivateAddress
                        | Self::RefusedTorrentDenied
                        | Self::RefusedAddressDenied
                        | Self::RefusedTorrentsFull
                        | Self::RefusedSwarmFull
                        | Self::RefusedAddressFull
                )
            }

            /// The stable name of this count.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

counts! {
    /// UDP datagrams received over IPv4.
    UdpReceived4 = "udp_received_ipv4",
    /// UDP datagrams received over IPv6.
    UdpReceived6 = "udp_received_ipv6",
    /// Bytes of UDP datagrams received.
    UdpReceivedBytes = "udp_received_bytes",
    /// UDP datagrams sent.
    UdpSent = "udp_sent",
    /// Bytes of UDP datagrams sent.
    UdpSentBytes = "udp_sent_bytes",
    /// UDP receives that failed.
    UdpReceiveFailed = "udp_receive_failed",
    /// UDP answers that the socket did not take.
    UdpSendFailed = "udp_send_failed",
    /// UDP connects answered.
    UdpConnect = "udp_connect",
    /// UDP announces answered.
    UdpAnnounce = "udp_announce",
    /// UDP scrapes answered.
    UdpScrape = "udp_scrape",
    /// UDP requests answered with an error.
    UdpError = "udp_error",
    /// Malformed datagrams, dropped.
    UdpMalformed = "udp_malformed",
    /// Announces and scrapes with a foreign, expired or forged connection id, dropped.
    UdpUnproven = "udp_unproven",
    /// Datagrams from denied addresses, dropped.
    UdpDenied = "udp_denied",
    /// Datagrams of trusted proxies that name no client by the PROXY protocol: dropped.
    UdpUnnamed = "udp_unnamed",
    /// UDP datagrams that the kernel dropped because a receive buffer was full.
    UdpKernelDropped = "udp_kernel_dropped",
    /// UDP datagrams that a socket filter dropped. While one is attached, those that a full buffer drops may be among them.
    UdpFiltered = "udp_filtered",
    /// Milliseconds that workers were overloaded.
    OverloadedMillis = "overloaded_millis",
    /// Full scrapes refused under overload.
    ShedFullScrape = "shed_full_scrape",
    /// Pages refused under overload, to readers that are neither on loopback nor on a private network.
    ShedPage = "shed_page",
    /// UDP connects left unanswered under overload.
    ShedConnect = "shed_connect",
    /// Scrapes left unanswered, or refused over HTTP, under overload.
    ShedScrape = "shed_scrape",
    /// Announces of stored peers that were answered without peers under overload.
    ShedRenewal = "shed_renewal",
    /// Announces of new peers left unanswered, or refused over HTTP, under overload.
    ShedNewPeer = "shed_new_peer",
    /// Times that a worker interrupted work of one kind for others: after 64 datagrams, 16 accepts or 64 answers over HTTP. It
    /// rises on busy workers only.
    GaveWay = "gave_way",
    /// TCP connections accepted.
    AcceptPassed = "accept_passed",
    /// Accepts that failed.
    AcceptFailed = "accept_failed",
    /// TCP connections from denied addresses, closed at once.
    AcceptDenied = "accept_denied",
    /// TCP connections closed.
    Closed = "closed",
    /// Complete writes to TCP: of an answer, or of a piece of one.
    HttpSent = "http_sent",
    /// Bytes received over TCP.
    HttpReceivedBytes = "http_received_bytes",
    /// Bytes sent over TCP.
    HttpSentBytes = "http_sent_bytes",
    /// Reads from TCP that failed.
    HttpReceiveFailed = "http_receive_failed",
    /// Writes to TCP that failed.
    HttpSendFailed = "http_send_failed",
    /// TCP connections that the client closed without a further request.
    HttpReceivedEnd = "http_received_end",
    /// TCP connections closed at a first byte that cannot be HTTP: TLS, or peers that take the tracker for a peer.
    HttpForeign = "http_foreign",
    /// HTTP requests over IPv4.
    HttpRequest4 = "http_request_ipv4",
    /// HTTP requests over IPv6.
    HttpRequest6 = "http_request_ipv6",
    /// HTTP requests whose connection stays open.
    HttpKeptAlive = "http_kept_alive",
    /// HTTP requests whose connection closes after the answer.
    HttpNotKeptAlive = "http_not_kept_alive",
    /// HTTP announces carried out.
    HttpAnnounce = "http_announce",
    /// HTTP scrapes answered, full scrapes included.
    HttpScrape = "http_scrape",
    /// HTTP full scrapes answered.
    HttpFullScrape = "http_full_scrape",
    /// HTTP full scrapes closed because the client took less than 64 KiB/s, or nothing for too long.
    HttpFullScrapeSlow = "http_full_scrape_slow",
    /// Pages answered: statistics and the like.
    HttpPage = "http_page",
    /// Answers with a `failure reason`.
    HttpFailure = "http_failure",
    /// Answers with status 200, failures included.
    Http200 = "http_200",
    /// Answers with status 400: not HTTP.
    Http400 = "http_400",
    /// Answers with status 403: full scrape while it is off, or a page under a name that is not the tracker's.
    Http403 = "http_403",
    /// Answers with status 404.
    Http404 = "http_404",
    /// Answers with status 405: neither GET nor HEAD.
    Http405 = "http_405",
    /// Answers with status 408: the request did not arrive in time.
    Http408 = "http_408",
    /// Answers with status 413: the request head is too large.
    Http413 = "http_413",
    /// Answers with status 429: too many pages were asked for within a second.
    Http429 = "http_429",
    /// Answers with status 503: pages refused under overload, and bad health.
    Http503 = "http_503",
    /// Announces with port 0 or 1, where no peer can connect: answered, and not stored.
    AnnounceUnreachable = "announce_unreachable",
    /// Announces refused with [`ImpossibleAddress`](crate::announce::Refusal::ImpossibleAddress).
    RefusedImpossibleAddress = "refused_impossible_address",
    /// Announces refused with [`PrivateAddress`](crate::announce::Refusal::PrivateAddress).
    RefusedPrivateAddress = "refused_private_address",
    /// Announces refused with [`TorrentDenied`](crate::announce::Refusal::TorrentDenied).
    RefusedTorrentDenied = "refused_torrent_denied",
    /// Announces refused with [`AddressDenied`](crate::announce::Refusal::AddressDenied).
    RefusedAddressDenied = "refused_address_denied",
    /// Announces refused with [`TorrentsFull`](crate::announce::Refusal::TorrentsFull).
    RefusedTorrentsFull = "refused_torrents_full",
    /// Announces refused with [`SwarmFull`](crate::announce::Refusal::SwarmFull).
    RefusedSwarmFull = "refused_swarm_full",
    /// Announces refused with [`AddressFull`](crate::announce::Refusal::AddressFull).
    RefusedAddressFull = "refused_address_full",
    /// Of these, announces from private addresses, which proxies have.
    AddressFullLocal = "address_full_local",
    /// HTTP announces with a forwarding header (`X-Forwarded-For`, `Forwarded`, `X-Real-IP`, `CF-Connecting-IP`) that is ignored.
    HttpForwardedIgnored = "http_forwarded_ignored",
    /// Of these, announces from loopback and private addresses. Those of proxies are answered, and not stored.
    HttpForwardedIgnoredLocal = "http_forwarded_ignored_local",
    /// HTTP announces of trusted proxies that name no client, and with the PROXY protocol scrapes: refused.
    HttpForwardedMissing = "http_forwarded_missing",
    /// Connections of trusted proxies with a malformed header of the PROXY protocol: closed.
    HttpProxyMalformed = "http_proxy_malformed",
    /// TLS handshakes with a signature and a key exchange.
    TlsFull = "tls_full",
    /// TLS handshakes that resumed an earlier session.
    TlsResumed = "tls_resumed",
    /// Connections to the TLS port that began with something else, such as plain HTTP.
    TlsPlain = "tls_plain",
    /// TLS handshakes that broke the protocol, or were longer than 16 KiB.
    TlsMalformed = "tls_malformed",
    /// TLS handshakes without a version, cipher suite, group or application protocol in common.
    TlsIncompatible = "tls_incompatible",
    /// TLS handshakes for which there was no certificate: none at all, or none that the client can check.
    TlsUncertified = "tls_uncertified",
    /// TLS handshakes ended by a client that does not trust the certificate.
    TlsDistrusted = "tls_distrusted",
    /// TLS handshakes ended by another alert of the client.
    TlsAlert = "tls_alert",
    /// TLS handshakes that the client left, or that took too long.
    TlsUnfinished = "tls_unfinished",
    /// Connections for TLS refused under overload.
    ShedTls = "shed_tls",
}
