//! WebSocket against another implementation, and against peers that break its rules.

use futures_util::{FutureExt, SinkExt, StreamExt};
use postrider_net::{
    Address, Dial, DialError, Endpoint, LayerError, Listener, ServerTls, Stream, Tls, WebSocket,
    WebSocketError, dial_with,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{Request, Response},
    protocol::Role,
};

use crate::{
    authority::Authority,
    peers::{Echo, LONG, check_echo},
};

#[tokio::test]
async fn both_ends_are_ours() {
    let echo = Echo::start("ws://127.0.0.1:0/mqtt", ServerTls::default()).await;
    check_echo(dial(&echo.endpoint, WebSocket::new()).await.unwrap()).await;
    echo.first.await.unwrap().unwrap();
}

#[tokio::test]
async fn secure_websocket() {
    let authority = Authority::new();
    let (certificate, key) = authority.server();
    let echo = Echo::start("wss://127.0.0.1:0/mqtt", ServerTls::new(certificate, key)).await;
    let how = Dial { tls: authority.trusted(), timeout: LONG, ..Dial::default() };
    check_echo(dial_with(&echo.endpoint, &how).await.unwrap()).await;
    let error = dial(&echo.endpoint, WebSocket::new()).await.unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
}

/// MQTT packets may lie across frames in any way. Spec: v5 [MQTT-6.0.0-2].
#[tokio::test]
async fn frames_may_end_anywhere() {
    let server = Theirs::start(|stream| async move {
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, mqtt).await.unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < 1000 {
            match socket.next().await.unwrap().unwrap() {
                Message::Binary(part) => bytes.extend_from_slice(&part),
                other => panic!("{other:?}"),
            }
        }
        for size in [1, 2, 3, 125, 126, 127, 300] {
            let rest = bytes.split_off(bytes.len().min(size));
            socket.send(Message::Binary(bytes.into())).await.unwrap();
            bytes = rest;
        }
        socket.send(Message::Binary(Vec::new().into())).await.unwrap();
        socket.send(Message::Binary(bytes.into())).await.unwrap();
        socket
    })
    .await;
    let mut stream = dial(&server.endpoint, WebSocket::new()).await.unwrap();
    let sent: Vec<u8> = (0..1000_u32).map(|at| u8::try_from(at % 256).unwrap()).collect();
    for part in sent.chunks(7) {
        stream.write_all(part).await.unwrap();
    }
    stream.flush().await.unwrap();
    // Read in small pieces, so that frames are larger than the reader's buffer, and in large ones.
    let mut back = vec![0; 600];
    for piece in back.chunks_mut(3) {
        stream.read_exact(piece).await.unwrap();
    }
    back.resize(1000, 0);
    stream.read_exact(&mut back[600..]).await.unwrap();
    assert!(back == sent);
}

/// A frame costs no memory, however long it is said to be.
#[tokio::test]
async fn a_frame_may_be_longer_than_memory() {
    let (near, far) = raw(Role::Client).await;
    let mut far = far;
    let mut near = near;
    // Four exabytes are announced; ten bytes come.
    far.write_all(&[0x82, 127, 0x3f, 0xff, 0, 0, 0, 0, 0, 0]).await.unwrap();
    far.write_all(b"0123456789").await.unwrap();
    let mut bytes = [0; 10];
    near.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"0123456789");
}

#[tokio::test]
async fn pings_are_answered_between_and_inside_of_messages() {
    let server = Theirs::start(|stream| async move {
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, mqtt).await.unwrap();
        socket.send(Message::Binary(b"one".as_slice().into())).await.unwrap();
        socket.send(Message::Ping(b"are you there".as_slice().into())).await.unwrap();
        socket.send(Message::Binary(b"two".as_slice().into())).await.unwrap();
        let pong = socket.next().await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong(b"are you there".as_slice().into()));
        socket
    })
    .await;
    let mut stream = dial(&server.endpoint, WebSocket::new()).await.unwrap();
    let mut bytes = [0; 6];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"onetwo");
    server.done.await.unwrap();

    let (mut near, mut far) = raw(Role::Client).await;
    far.write_all(&[0x02, 2, b'a', b'b', 0x89, 1, b'!', 0x80, 1, b'c']).await.unwrap();
    let mut bytes = [0; 3];
    near.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"abc");
    let mut pong = [0; 7];
    far.read_exact(&mut pong).await.unwrap();
    assert_eq!((pong[0], pong[1], pong[6] ^ pong[2]), (0x8a, 0x81, b'!'));
}

#[tokio::test]
async fn both_sides_close_as_the_standard_says() {
    let server = Theirs::start(|stream| async move {
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, mqtt).await.unwrap();
        let close = socket.next().await.unwrap().unwrap();
        assert!(matches!(&close, Message::Close(Some(frame)) if u16::from(frame.code) == 1000));
        assert!(socket.next().await.is_none());
        socket
    })
    .await;
    let mut stream = dial(&server.endpoint, WebSocket::new()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(stream.write_all(b"too late").await.is_err());
    server.done.await.unwrap();

    let server = Theirs::start(|stream| async move {
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, mqtt).await.unwrap();
        socket.close(None).await.unwrap();
        assert!(matches!(socket.next().await, None | Some(Ok(Message::Close(_)))));
        socket
    })
    .await;
    let mut stream = dial(&server.endpoint, WebSocket::new()).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    server.done.await.unwrap();
}

/// v5 [MQTT-6.0.0-1]: control packets come in binary frames, anything else closes the connection.
#[tokio::test]
async fn what_breaks_the_rules_closes_the_connection() {
    for (frame, code, what) in [
        ([0x81, 1, b'a'].as_slice(), 1003, "text frame"),
        (&[0xc2, 1, b'a'], 1002, "reserved bit"),
        (&[0x83, 0], 1002, "opcode"),
        (&[0x80, 1, b'a'], 1002, "inside of another"),
        (&[0x02, 1, b'a', 0x82, 1, b'b'], 1002, "inside of another"),
        (&[0x82, 0x81, 0, 0, 0, 0, b'a'], 1002, "masked"),
        (&[0x09, 0], 1002, "control frame"),
        (&[0x89, 126, 0, 126], 1002, "control frame"),
    ] {
        let (mut near, mut far) = raw(Role::Client).await;
        far.write_all(frame).await.unwrap();
        let mut bytes = Vec::new();
        let error = near.read_to_end(&mut bytes).await.unwrap_err();
        let error = WebSocketError::find(&error).unwrap().to_string();
        assert!(error.contains(what), "{frame:02x?}: {error}");
        let mut close = [0; 8];
        far.read_exact(&mut close).await.unwrap();
        let told = u16::from_be_bytes([close[6] ^ close[2], close[7] ^ close[3]]);
        assert_eq!((close[0], told), (0x88, code), "{what}");
    }
    let (mut near, mut far) = raw(Role::Server).await;
    far.write_all(&[0x82, 1, b'a']).await.unwrap();
    assert!(near.read(&mut [0; 1]).await.is_err());
}

#[tokio::test]
async fn path_headers_and_sub_protocol() {
    let server = Theirs::start(|stream| async move {
        let check = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().to_string(), "/broker?x=1");
            assert_eq!(request.headers()["authorization"], "Bearer hush");
            assert_eq!(request.headers()["sec-websocket-protocol"], "mqttv3.1");
            response.headers_mut().insert("Sec-WebSocket-Protocol", "mqttv3.1".parse().unwrap());
            Ok(response)
        };
        tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap()
    })
    .await;
    let options = WebSocket::new()
        .path("/broker?x=1")
        .header("Authorization", "Bearer hush")
        .protocol("mqttv3.1");
    dial(&server.endpoint, options).await.unwrap();
    server.done.await.unwrap();
}

#[tokio::test]
async fn the_path_of_the_url_is_asked_for_and_mqtt_is_the_default() {
    for (path, expected) in [("", "/mqtt"), ("/", "/mqtt"), ("/a/b?c=d", "/a/b?c=d")] {
        let server = Theirs::start(move |stream| async move {
            let check = |request: &Request, response: Response| {
                assert_eq!(request.uri().to_string(), expected);
                mqtt(request, response)
            };
            tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap()
        })
        .await;
        let url = format!("ws://127.0.0.1:{}{path}", server.port);
        let endpoint = Address::parse(&url).unwrap().endpoint;
        dial(&endpoint, WebSocket::new()).await.unwrap();
        server.done.await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_status() {
    for (answer, what) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found; the path may be wrong"),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "credentials"),
        ("HTTP/1.1 302 Found\r\nLocation: https://a.example/\r\n\r\n", "go to https://a.example/"),
        ("HTTP/1.1 200 OK\r\n\r\n<html>", "no WebSocket"),
        ("\x15\x03\x01\x00\x02\x02\x16", "use wss://"),
        ("SSH-2.0-OpenSSH\r\n", "speaks no HTTP"),
        ("", "closed the connection"),
        (
            "HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: no\r\n\r\n",
            "Sec-WebSocket-Accept does not fit",
        ),
    ] {
        let server = Http::start(answer.to_owned()).await;
        let error = dial(&server, WebSocket::new()).await.unwrap_err();
        assert!(matches!(error, DialError::WebSocket { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let server = Http::start(format!("HTTP/1.1 101 A\r\nX: {}", "x".repeat(100_000))).await;
    let error = dial(&server, WebSocket::new()).await.unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
}

#[tokio::test]
async fn their_client_reaches_our_listener() {
    let echo = Echo::start("ws://127.0.0.1:0/mqtt", ServerTls::default()).await;
    let mut socket = their_client(&echo, "/mqtt", "other, mqtt").await.unwrap();
    let sent: Vec<u8> = vec![7; 200_000];
    socket.send(Message::Binary(sent.clone().into())).await.unwrap();
    let mut back = Vec::new();
    while back.len() < sent.len() {
        back.extend_from_slice(&socket.next().await.unwrap().unwrap().into_data());
    }
    assert!(back == sent);
    socket.send(Message::Ping(b"x".as_slice().into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(b"x".as_slice().into()));
    socket.close(None).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    echo.first.await.unwrap().unwrap();
}

/// v5 [MQTT-6.0.0-3]: clients offer the sub-protocol mqtt.
#[tokio::test]
async fn our_listener_refuses_other_paths_and_protocols() {
    for (path, protocol, status) in [("/other", "mqtt", 404), ("/mqtt", "chat", 400)] {
        let echo = Echo::start("ws://127.0.0.1:0/mqtt", ServerTls::default()).await;
        let error = their_client(&echo, path, protocol).await.unwrap_err();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        let told = echo.first.await.unwrap().unwrap_err();
        assert!(matches!(told, LayerError::WebSocket(_)), "{told:?}");
    }
}

#[tokio::test]
async fn a_listener_with_tls_needs_a_certificate() {
    for url in ["mqtts://127.0.0.1:0", "wss://127.0.0.1:0"] {
        let endpoint = Address::parse(url).unwrap().endpoint;
        let error = Listener::bind(&endpoint).await.unwrap_err();
        assert!(error.to_string().contains("needs a certificate"), "{error}");
    }
}

/// Both ends of a secure WebSocket.
async fn secure_pair() -> (Stream, Stream) {
    let authority = Authority::new();
    let (certificate, key) = authority.server();
    let place = Address::parse("wss://127.0.0.1:0").unwrap().endpoint;
    let listener = Listener::bind_with(&place, &ServerTls::new(certificate, key)).await.unwrap();
    let how = Dial { tls: authority.trusted(), timeout: LONG, ..Dial::default() };
    let dialed = dial_with(listener.endpoint(), &how);
    let accepted = async {
        let (stream, _) = listener.accept().await.unwrap();
        listener.layers().unwrap().open(stream).await.unwrap()
    };
    let (near, far) = tokio::join!(dialed, accepted);
    (near.unwrap(), far)
}

#[tokio::test]
async fn a_detached_stream_keeps_its_frames() {
    let (mut near, far) = secure_pair().await;
    near.write_all(b"before").await.unwrap();
    near.flush().await.unwrap();
    let detached = far.detach().unwrap();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut far = detached.attach().unwrap();
            let mut bytes = [0; 6];
            far.read_exact(&mut bytes).await.unwrap();
            far.write_all(&bytes).await.unwrap();
            far.flush().await.unwrap();
        });
    });
    let mut bytes = [0; 6];
    near.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"before");
    thread.join().unwrap();
}

/// The bytes of the socket count.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_low_water_mark_is_the_sockets() {
    const LOW_WATER: usize = 10_000;
    let (mut near, mut far) = secure_pair().await;
    near.set_low_water(LOW_WATER).unwrap();
    // What the handshake left is read first.
    let mut bytes = vec![0; 2 * LOW_WATER];
    far.write_all(&bytes[..LOW_WATER]).await.unwrap();
    far.flush().await.unwrap();
    near.read_exact(&mut bytes[..LOW_WATER]).await.unwrap();
    let mut reading = Box::pin(near.read(&mut bytes));
    far.write_all(b"one").await.unwrap();
    far.flush().await.unwrap();
    // Another pair takes longer than those bytes.
    secure_pair().await;
    assert!((&mut reading).now_or_never().is_none());
    drop(reading);
    near.set_low_water(1).unwrap();
    assert_eq!(near.read(&mut bytes).await.unwrap(), 3);
}

async fn dial(endpoint: &Endpoint, websocket: WebSocket) -> Result<Stream, DialError> {
    let how = Dial { websocket, tls: Tls::new(), timeout: LONG, ..Dial::default() };
    dial_with(endpoint, &how).await
}

/// Answers that it speaks MQTT.
fn mqtt(
    _: &Request,
    mut response: Response,
) -> Result<Response, tokio_tungstenite::tungstenite::handshake::server::ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", "mqtt".parse().unwrap());
    Ok(response)
}

/// A server by tungstenite, for one connection.
struct Theirs {
    endpoint: Endpoint,
    port: u16,
    done: JoinHandle<tokio_tungstenite::WebSocketStream<TcpStream>>,
}

impl Theirs {
    async fn start<F>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = tokio_tungstenite::WebSocketStream<TcpStream>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let done = tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
        let url = format!("ws://127.0.0.1:{port}/mqtt");
        Self { endpoint: Address::parse(&url).unwrap().endpoint, port, done }
    }
}

/// A client by tungstenite, of a server of ours.
async fn their_client(
    echo: &Echo,
    path: &str,
    protocol: &str,
) -> Result<tokio_tungstenite::WebSocketStream<TcpStream>, tokio_tungstenite::tungstenite::Error> {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let url = format!("ws://127.0.0.1:{}{path}", echo.port());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    let stream = TcpStream::connect(("127.0.0.1", echo.port())).await.unwrap();
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

/// A stream of ours on that side, and the bare socket at its other end.
async fn raw(ours: Role) -> (Stream, TcpStream) {
    if ours == Role::Client {
        let server = Theirs::start(|stream| async move {
            tokio_tungstenite::accept_hdr_async(stream, mqtt).await.unwrap()
        });
        let server = server.await;
        let stream = dial(&server.endpoint, WebSocket::new()).await.unwrap();
        return (stream, server.done.await.unwrap().into_inner());
    }
    let place = Address::parse("ws://127.0.0.1:0/mqtt").unwrap().endpoint;
    let listener = Listener::bind(&place).await.unwrap();
    let Endpoint::WebSocket { port, .. } = listener.endpoint() else { unreachable!() };
    let port = *port;
    let client = tokio::spawn(async move {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest;
        let mut request = format!("ws://127.0.0.1:{port}/mqtt").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "mqtt".parse().unwrap());
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.unwrap().0.into_inner()
    });
    let (stream, _) = listener.accept().await.unwrap();
    let stream = listener.layers().unwrap().open(stream).await.unwrap();
    (stream, client.await.unwrap())
}

/// A server that gives one answer whatever it is asked.
struct Http;

impl Http {
    async fn start(answer: String) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4096];
            assert_ne!(stream.read(&mut bytes).await.unwrap(), 0);
            // The client may hang up before all of it is read.
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        Address::parse(&format!("ws://127.0.0.1:{port}/mqtt")).unwrap().endpoint
    }
}
