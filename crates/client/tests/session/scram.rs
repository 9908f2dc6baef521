//! SCRAM-SHA-256 with a server that computes its side as RFC 5802 says. Issue 5, section 4.

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use postrider::{AuthenticationError, ConnectError, Properties, Property, ReasonCode, Scram, Text};
use postrider_proto::wire::{Auth, ConnAck, Packet};
use sha2::{Digest, Sha256};

use crate::peer::{Peer, Success, builder};

/// What the server keeps of a user.
struct Server {
    password: &'static str,
    iterations: u32,
}

#[tokio::test]
async fn scram_sha_256_authenticates_both_sides() {
    let server = Server { password: "pencil", iterations: 4096 };
    let (builder, mut desk) = builder();
    let builder = builder.authenticator(Scram::new("us,er", "pencil"));
    let (session, mut peer) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        let connect = peer.connect().await;
        let first = data(&connect.properties);
        assert!(first.starts_with("n,,n=us=2Cer,r="), "{first}");
        let signature = server.exchange(&mut peer, &first, true).await;
        peer.send(Packet::ConnAck(ConnAck {
            properties: properties(&signature),
            ..ConnAck::default_success()
        }))
        .await;
        peer
    });
    let session = session.unwrap();
    let (again, ()) = tokio::join!(session.reauthenticate(), async {
        let first = data(&peer.auth().await.properties);
        let signature = server.exchange(&mut peer, &first, true).await;
        let (reason, properties) = (ReasonCode::Success, properties(&signature));
        peer.send(Packet::Auth(Auth { reason, properties })).await;
    });
    assert_eq!(again, Ok(()));
}

#[tokio::test]
async fn scram_sha_256_finds_out_a_server_without_the_password() {
    let server = Server { password: "pen", iterations: 4096 };
    let (builder, mut desk) = builder();
    let builder = builder.authenticator(Scram::new("user", "pencil"));
    let (result, ()) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        let first = data(&peer.connect().await.properties);
        let signature = server.exchange(&mut peer, &first, false).await;
        peer.send(Packet::ConnAck(ConnAck {
            properties: properties(&signature),
            ..ConnAck::default_success()
        }))
        .await;
        assert!(matches!(peer.next().await, Packet::Disconnect(_)));
    });
    let Err(ConnectError::Authentication { error, .. }) = result else { panic!("{result:?}") };
    assert_eq!(error, AuthenticationError::Signature);
}

#[tokio::test]
async fn scram_sha_256_refuses_too_few_iterations() {
    let (builder, mut desk) = builder();
    let builder = builder.authenticator(Scram::new("user", "pencil"));
    let (result, ()) = tokio::join!(builder.connect(), async {
        let mut peer = desk.next().await;
        let first = data(&peer.connect().await.properties);
        let nonce = first.rsplit("r=").next().unwrap();
        let challenge = format!("r={nonce}more,s=c2FsdA==,i=1");
        let (reason, properties) = (ReasonCode::ContinueAuthentication, properties(&challenge));
        peer.send(Packet::Auth(Auth { reason, properties })).await;
        assert!(matches!(peer.next().await, Packet::Disconnect(_)));
    });
    let Err(ConnectError::Authentication { error, .. }) = result else { panic!("{result:?}") };
    let (min, max) = (4_096, 1_000_000);
    assert_eq!(error, AuthenticationError::Iterations { iterations: 1, min, max });
}

impl Server {
    /// Challenges a client, looks at its proof, and gives what it must be sent at the end.
    async fn exchange(&self, peer: &mut Peer, first: &str, is_right: bool) -> String {
        let bare = first.strip_prefix("n,,").unwrap();
        let nonce = bare.rsplit("r=").next().unwrap();
        let challenge =
            format!("r={nonce}more,s={},i={}", Base64::encode_string(b"salt"), self.iterations);
        let (reason, said) = (ReasonCode::ContinueAuthentication, properties(&challenge));
        peer.send(Packet::Auth(Auth { reason, properties: said })).await;
        let last = data(&peer.auth().await.properties);
        let (without_proof, proof) = last.rsplit_once(",p=").unwrap();
        assert_eq!(without_proof, format!("c=biws,r={nonce}more"));
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(
            self.password.as_bytes(),
            b"salt",
            self.iterations,
        );
        let all = format!("{bare},{challenge},{without_proof}");
        let client_key = keyed(&salted, "Client Key");
        let signature = keyed(&Sha256::digest(&client_key), &all);
        let expected: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(Base64::decode_vec(proof).unwrap() == expected, is_right);
        format!("v={}", Base64::encode_string(&keyed(&keyed(&salted, "Server Key"), &all)))
    }
}

fn keyed(key: &[u8], message: &str) -> Vec<u8> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    hmac.update(message.as_bytes());
    hmac.finalize().into_bytes().to_vec()
}

fn properties(data: &str) -> Properties {
    let method = Property::AuthenticationMethod(Text::new("SCRAM-SHA-256").unwrap());
    [method, Property::AuthenticationData(data.to_owned().into())].into_iter().collect()
}

fn data(properties: &Properties) -> String {
    let data = properties.authentication_data().cloned().unwrap_or_default();
    String::from_utf8(data.to_vec()).unwrap()
}
