//! Who may speak: TLS 1.3 with raw public keys (RFC 7250), both ways. A peer is its key, pinned by the bytes of its
//! SPKI; there is no certificate, no authority, no expiry and no resumption. A key is retired by taking its card away.

use std::sync::{Arc, Mutex};

use protocol::keys::{self, SigningKey};
use protocol::{Name, Suite};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::peer::lock;
use crate::status::LinkStatus;

/// The protocol a handshake must agree on; a new exchange gets a new name.
pub(crate) const ALPN: &[u8] = b"trilock/1";
/// TLS wants some server name; it is not sent, and nothing is believed because of it.
pub(crate) const SERVER_NAME: &str = "trilock";

/// A key that may be at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) peer: Name,
    pub(crate) spki: Vec<u8>,
}

#[derive(Debug)]
struct Pins {
    pins: Vec<Pin>,
    status: Arc<Mutex<LinkStatus>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A key's fingerprint as it stands on its card.
pub(crate) fn fingerprint(spki: &[u8]) -> String {
    keys::fingerprint(&Suite::Std.digest(spki))
}

impl Pins {
    fn check(&self, spki: &CertificateDer<'_>) -> Result<(), Error> {
        if self.pins.iter().any(|pin| pin.spki == spki.as_ref()) {
            return Ok(());
        }
        lock(&self.status).trouble.unknown_keys += 1;
        let expected: Vec<_> = self.pins.iter().map(|pin| pin.peer.as_str()).collect();
        tracing::warn!(
            alarm = "peer-unknown-key",
            fingerprint = fingerprint(spki),
            expected = expected.join(", "),
            "a gateway peer showed a link key that is on no card of the expected nodes"
        );
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signature, &self.algorithms)
    }
}

/// Never reached: TLS 1.2 is not compiled in and not offered.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken".to_owned()))
}

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pins {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// What is wrong with our own key or library.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("a link key must be Ed25519 (suite std), not of suite {suite}: TLS here has no SM2")]
    WrongSuite { suite: Suite },
    #[error("the link key cannot be used: {cause}")]
    Key { cause: String },
    #[error("TLS cannot be set up: {cause}")]
    Setup { cause: String },
}

/// This node's half of every handshake.
pub(crate) struct Identity {
    key: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
    status: Arc<Mutex<LinkStatus>>,
}

impl Identity {
    /// Keys on no card are counted in `status`.
    pub(crate) fn new(key: &SigningKey, status: &Arc<Mutex<LinkStatus>>) -> Result<Identity, TlsError> {
        if key.suite() != Suite::Std {
            return Err(TlsError::WrongSuite { suite: key.suite() });
        }
        let bad = |cause: &dyn std::fmt::Display| TlsError::Key { cause: cause.to_string() };
        let pem = key.to_pem(None).map_err(|e| bad(&e))?;
        let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| bad(&e))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = provider.key_provider.load_private_key(private).map_err(|e| bad(&e))?;
        let public = CertificateDer::from(key.public().to_spki());
        Ok(Identity { key: Arc::new(CertifiedKey::new(vec![public], private)), provider, status: Arc::clone(status) })
    }

    fn pins(&self, pins: Vec<Pin>) -> Arc<Pins> {
        let (status, algorithms) = (Arc::clone(&self.status), self.provider.signature_verification_algorithms);
        Arc::new(Pins { pins, status, algorithms })
    }

    /// For dialling one peer: only its own keys are believed.
    pub(crate) fn client(&self, pins: Vec<Pin>) -> Result<QuicClientConfig, TlsError> {
        let bad = |cause: &dyn std::fmt::Display| TlsError::Setup { cause: cause.to_string() };
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad(&e))?
            .dangerous()
            .with_custom_certificate_verifier(self.pins(pins))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        QuicClientConfig::try_from(config).map_err(|e| bad(&e))
    }

    /// For listening: the keys of all peers are believed; which one it was is read afterwards.
    pub(crate) fn server(&self, pins: Vec<Pin>) -> Result<QuicServerConfig, TlsError> {
        let bad = |cause: &dyn std::fmt::Display| TlsError::Setup { cause: cause.to_string() };
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad(&e))?
            .with_client_cert_verifier(self.pins(pins))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        QuicServerConfig::try_from(config).map_err(|e| bad(&e))
    }
}

/// The SPKI that the other end proved to hold.
pub(crate) fn peer_spki(connection: &quinn::Connection) -> Option<Vec<u8>> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    identity.first().map(|spki| spki.as_ref().to_vec())
}
