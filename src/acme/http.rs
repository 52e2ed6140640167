//! HTTP for the client of a directory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use ureq::tls::{TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use super::authorities::Authorities;

/// Requests over HTTPS, each to its end before the next.
#[derive(Clone, Debug)]
pub(super) struct Http(Agent);

impl Http {
    /// A client that trusts these authorities.
    pub(super) fn new(authorities: &Authorities) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(authorities.roots())
            // Named, as a build may have two of them.
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            // A refusal is an answer: its body says why.
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .user_agent(concat!("etracker/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.into())
    }

    /// Asks for one page.
    ///
    /// # Errors
    /// It cannot be reached, or is none.
    pub(super) fn get(&self, url: &str) -> Result<Vec<u8>, ureq::Error> {
        let mut response = self.0.get(url).call()?;
        if !response.status().is_success() {
            return Err(ureq::Error::StatusCode(response.status().as_u16()));
        }
        response.body_mut().with_config().limit(BODY_MAX).read_to_vec()
    }

    fn send(&self, request: Request<Vec<u8>>) -> Result<BytesResponse, ureq::Error> {
        let (parts, content) = self.0.run(request)?.into_parts();
        let kind = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        // A directory gives its reasons as JSON (RFC 8555, section 6.7); a proxy before one that is down sends a page for people.
        let says_why = kind.is_some_and(|kind| kind.contains("json"));
        if !parts.status.is_success() && !says_why {
            return Err(ureq::Error::StatusCode(parts.status.as_u16()));
        }
        Ok(BytesResponse {
            parts,
            body: Box::new(Bytes::from(body(content)?)),
        })
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let url = parts.uri.clone();
            let request = Request::from_parts(parts, body.to_bytes().to_vec());
            http.send(request)
                .map_err(|error| Error::Other(format!("{url}: {error}").into()))
        })
    }
}

fn body(body: Body) -> Result<Vec<u8>, ureq::Error> {
    body.into_with_config().limit(BODY_MAX).read_to_vec()
}

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer: chains take some thousands.
const BODY_MAX: u64 = 1 << 20;
