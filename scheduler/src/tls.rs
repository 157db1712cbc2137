//! TLS towards those that are asked. Whoever checks how an instance is takes any certificate; whoever fetches a file takes
//! those that the machine's roots speak for.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, anyhow};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection that is encrypted.
pub(crate) type Stream = TlsStream<TcpStream>;

/// What all checks have in common, so that a probe costs one handshake and nothing else.
static ANYBODY: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let anybody = Arc::new(Anybody);
    let mut config = builder()
        .dangerous()
        .with_custom_certificate_verifier(anybody)
        .with_no_client_auth();
    // Sessions are kept by name, and at one address there are many servers.
    config.resumption = Resumption::disabled();
    config.into()
});

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| ring::default_provider().into());
    ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .expect("the provider has what TLS 1.2 and 1.3 need")
}

/// Speaks TLS with whoever is at the other end. The error says what is wrong in words.
pub(crate) async fn with_anybody(stream: TcpStream, at: IpAddr) -> Result<Stream, String> {
    let connector = TlsConnector::from(Arc::clone(&ANYBODY));
    connector
        .connect(ServerName::IpAddress(at.into()), stream)
        .await
        .map_err(|error| words(&error))
}

/// Those whose certificates are accepted: the roots of the machine, or those of the file that `SSL_CERT_FILE` names.
/// Read anew each time, since files are fetched seldom and roots change.
pub(crate) fn roots() -> anyhow::Result<Arc<ClientConfig>> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // What is no root, in a folder of some hundred, is left out.
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let none = anyhow!("there are no root certificates: install them, or name a file of them by SSL_CERT_FILE");
        return Err(match found.errors.into_iter().next() {
            Some(error) => none.context(error.to_string()),
            None => none,
        });
    }
    Ok(builder().with_root_certificates(roots).with_no_client_auth().into())
}

/// Speaks TLS with `host`, whose certificate has to be accepted.
pub(crate) async fn with_host(roots: Arc<ClientConfig>, stream: TcpStream, host: &str) -> anyhow::Result<Stream> {
    let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no name of a server"))?;
    let connected = TlsConnector::from(roots).connect(name, stream).await;
    connected.map_err(|error| match tls(&error) {
        Some(rustls::Error::InvalidCertificate(_)) => anyhow!(
            "its certificate is not accepted: {error}; accepted are the machine's roots, or those of the file that the \
             scheduler's SSL_CERT_FILE names"
        ),
        _ => anyhow!("TLS: {}", words(&error)),
    })
}

fn tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn words(error: &io::Error) -> String {
    match tls(error) {
        Some(rustls::Error::InvalidMessage(_)) => "what answers there does not speak TLS".into(),
        _ => error.to_string(),
    }
}

/// Takes any certificate, also one that no verifier can read, and whatever is signed with it: a check asks whether an
/// instance answers, at an address that only it has, and not who it is.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
        ]
    }
}
