//! The opening of a WebSocket, from both ends. RFC 6455 section 4.

use std::io::ErrorKind;

use base64ct::{Base64, Encoding};
use sha1::{Digest, Sha1};

use super::{
    PROTOCOL, WebSocket, WebSocketError,
    stream::{Framed, Side},
};
use crate::{
    LayerError, Stream, TlsError,
    http::{self, Head, HeadError, Kind},
};

/// Asks for a WebSocket. `authority` is the `Host`, `path` that of the URL.
pub(crate) async fn connect(
    mut below: Stream,
    authority: &str,
    path: &str,
    options: &WebSocket,
) -> Result<Stream, LayerError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| WebSocketError::Other(error.to_string()))?;
    let key = Base64::encode_string(&random);
    let request = request(authority, path, options, &key)?;
    // Who does not take it may have said why.
    let _ = http::send(&mut below, &request).await;
    let answer = http::receive(&mut below, Kind::Response).await.map_err(LayerError::of)?;
    check(&answer, options, &key)?;
    Ok(Framed::open(below, Side::Client, &answer.rest)?)
}

/// Answers the request of a client. With a `path` other ones are refused.
pub(crate) async fn accept(mut below: Stream, path: &str) -> Result<Stream, LayerError> {
    let request = http::receive(&mut below, Kind::Request).await.map_err(LayerError::of)?;
    let (answer, error) = answer(&request, path);
    http::send(&mut below, &answer).await.map_err(|_| WebSocketError::Closed)?;
    match error {
        None => Ok(Framed::open(below, Side::Server, &request.rest)?),
        Some(error) => {
            // The answer must not be lost to a reset.
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut below).await;
            Err(error.into())
        }
    }
}

fn request(
    authority: &str,
    path: &str,
    options: &WebSocket,
    key: &str,
) -> Result<String, WebSocketError> {
    let path = options.path.as_deref().unwrap_or(path);
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path {
        let path = path.split('?').next().unwrap_or_default();
        return Err(WebSocketError::Option(format!("the path '{path}'")));
    }
    let has_host = options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    if !has_host {
        text.push_str(&format!("Host: {authority}\r\n"));
    }
    text.push_str(&format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    ));
    if !options.protocol.is_empty() {
        if !http::is_name(&options.protocol) {
            let what = format!("the sub-protocol '{}'", options.protocol);
            return Err(WebSocketError::Option(what));
        }
        text.push_str(&format!("Sec-WebSocket-Protocol: {}\r\n", options.protocol));
    }
    for (name, value) in &options.headers {
        if !http::is_name(name) || !http::is_value(&value.0) {
            return Err(WebSocketError::Option(format!("the header '{}'", name.escape_debug())));
        }
        text.push_str(&format!("{name}: {}\r\n", value.0));
    }
    text.push_str("\r\n");
    Ok(text)
}

fn check(answer: &Head, options: &WebSocket, key: &str) -> Result<(), WebSocketError> {
    if answer.status != 101 {
        return Err(WebSocketError::Refused {
            status: answer.status,
            reason: answer.line.clone(),
            location: answer.field("location").map(str::to_owned),
        });
    }
    if answer.field("sec-websocket-accept") != Some(accepted(key).as_str()) {
        return Err(WebSocketError::Answer("Sec-WebSocket-Accept does not fit our key"));
    }
    if answer.field("sec-websocket-extensions").is_some() {
        return Err(WebSocketError::Answer("it uses an extension that was not offered"));
    }
    // Some servers leave it out; another one than asked for is no MQTT.
    match answer.field("sec-websocket-protocol") {
        Some(got) if got != options.protocol => {
            Err(WebSocketError::Protocol { wanted: options.protocol.clone(), got: got.to_owned() })
        }
        _ => Ok(()),
    }
}

/// What to answer, and why it is a refusal.
fn answer(request: &Head, path: &str) -> (String, Option<WebSocketError>) {
    let refusal = |status: &str, why: &'static str| {
        let text = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n{why}",
            why.len()
        );
        (text, Some(WebSocketError::Answer(why)))
    };
    let asked = request.line.split('?').next().unwrap_or_default();
    if path != "/" && asked != path {
        return refusal("404 Not Found", "there is no WebSocket at this path");
    }
    let says = |name: &str, wanted: &str| {
        request.field(name).is_some()
            && request.list(name).any(|it| it.eq_ignore_ascii_case(wanted))
    };
    if !says("upgrade", "websocket") || !says("connection", "upgrade") {
        return refusal("426 Upgrade Required", "this is a port for MQTT over WebSocket");
    }
    let key = request.field("sec-websocket-key");
    let (Some(key), Some("13")) = (key, request.field("sec-websocket-version")) else {
        return refusal("400 Bad Request", "the request is for another version of WebSocket");
    };
    // Spec: v5 section 6, [MQTT-6.0.0-3] and [MQTT-6.0.0-4]; the second name is that of 3.1.
    let Some(protocol) =
        request.list("sec-websocket-protocol").find(|it| [PROTOCOL, "mqttv3.1"].contains(it))
    else {
        return refusal("400 Bad Request", "the request must offer the sub-protocol mqtt");
    };
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
        accepted(key)
    );
    (text, None)
}

/// What proves that a server has read our key.
fn accepted(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Base64::encode_string(&hash.finalize())
}

impl LayerError {
    fn of(error: HeadError) -> Self {
        Self::WebSocket(match error {
            HeadError::Ended => WebSocketError::Closed,
            HeadError::NotHttp(bytes) => WebSocketError::NotHttp(match bytes.as_slice() {
                [0x15 | 0x16, 0x03, ..] => "it speaks TLS; use wss://".to_owned(),
                bytes => {
                    let first = bytes.get(..bytes.len().min(16)).unwrap_or_default();
                    format!("its first bytes are \"{}\"", first.escape_ascii())
                }
            }),
            HeadError::TooLong => WebSocketError::Answer("its head is too long"),
            HeadError::Io(error) => match (TlsError::find(&error), error.kind()) {
                (Some(error), _) => return Self::Tls(error.clone()),
                (None, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    WebSocketError::Closed
                }
                (None, _) => WebSocketError::Other(error.to_string()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 section 1.3.
    #[test]
    fn the_answer_to_a_key_is_that_of_the_standard() {
        assert_eq!(accepted("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn options_cannot_smuggle_lines_into_the_request() {
        for options in [
            WebSocket::new().path("/a b"),
            WebSocket::new().path("a"),
            WebSocket::new().path("/a\r\nX: y"),
            WebSocket::new().header("X", "a\r\nY: b"),
            WebSocket::new().header("X Y", "a"),
            WebSocket::new().header("", "a"),
            WebSocket::new().protocol("a, b"),
        ] {
            let error = request("h", "/", &options, "k").unwrap_err();
            assert!(matches!(error, WebSocketError::Option(_)), "{error:?}");
        }
    }

    #[test]
    fn path_headers_and_sub_protocol_are_sent() {
        let options = WebSocket::new().path("/x?y=1").header("X-Key", "k v").protocol("mqttv3.1");
        let text = request("h:81", "/mqtt", &options, "k").unwrap();
        assert!(text.starts_with("GET /x?y=1 HTTP/1.1\r\nHost: h:81\r\n"), "{text}");
        assert!(text.contains("\r\nX-Key: k v\r\n"), "{text}");
        assert!(text.contains("\r\nSec-WebSocket-Protocol: mqttv3.1\r\n"), "{text}");
        let own_host = WebSocket::new().header("Host", "other");
        let text = request("h", "/", &own_host, "k").unwrap();
        assert_eq!(text.matches("Host:").count(), 1, "{text}");
        assert!(!format!("{:?}", WebSocket::new().header("A", "hush")).contains("hush"));
    }
}
