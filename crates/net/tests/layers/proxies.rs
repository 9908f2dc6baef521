//! Proxies, alone and below TLS and WebSocket. Real ones are asked in the lanes.

use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding};
use postrider_net::{
    Address, Dial, DialError, Endpoint, Listener, Proxy, ProxyError, ProxyRules, ServerTls, Stream,
    TlsError, dial_with,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::{
    authority::Authority,
    peers::{Echo, LONG, check_echo},
};

const KINDS: [&str; 2] = ["http", "socks5h"];

#[tokio::test]
async fn a_proxy_connects_to_the_host() {
    let echo = Echo::start("tcp://127.0.0.1:0", ServerTls::default()).await;
    for kind in KINDS {
        let server = FakeProxy::start(None).await;
        let stream = server.dial(kind, "", &echo.endpoint.to_string()).await.unwrap();
        check_echo(stream).await;
    }
}

/// Rules name a proxy for some schemes and hosts; one that is set goes before them.
#[tokio::test]
async fn a_proxy_of_the_environment_is_gone_through() {
    let echo = Echo::start("tcp://127.0.0.1:0", ServerTls::default()).await;
    let (server, other) = (FakeProxy::start(None).await, FakeProxy::start(None).await);
    let named =
        |name: &str| Some(format!("127.0.0.1:{}", server.port)).filter(|_| name == "all_proxy");
    let rules = ProxyRules::from_variables(named).unwrap();
    let how = |rules| Dial { proxies: Some(rules), timeout: LONG, ..Dial::default() };
    let inside = format!("mqtt://broker.inside.invalid:{}", echo.port());
    let inside = Address::parse(&inside).unwrap().endpoint;
    check_echo(dial_with(&inside, &how(rules.clone())).await.unwrap()).await;
    assert_eq!(server.asked.lock().unwrap().len(), 1);
    let direct = how(rules.clone().except("inside.invalid"));
    assert!(matches!(dial_with(&inside, &direct).await, Err(DialError::Resolve { .. })));
    // This machine is not looked for elsewhere, unless that is said.
    check_echo(dial_with(&echo.endpoint, &how(rules.clone())).await.unwrap()).await;
    let set = Dial { proxies: Some(rules), ..other.how("http", "") };
    check_echo(dial_with(&echo.endpoint, &set).await.unwrap()).await;
    assert_eq!(server.asked.lock().unwrap().len(), 1);
    assert_eq!(other.asked.lock().unwrap().len(), 1);
}

/// The proxy looks the name up: it may be one that only it knows.
#[tokio::test]
async fn the_proxy_resolves_the_name() {
    let echo = Echo::start("tcp://127.0.0.1:0", ServerTls::default()).await;
    for kind in KINDS {
        let server = FakeProxy::start(None).await;
        let url = format!("mqtt://broker.inside.invalid:{}", echo.port());
        check_echo(server.dial(kind, "", &url).await.unwrap()).await;
        let asked = format!("broker.inside.invalid:{}", echo.port());
        assert_eq!(*server.asked.lock().unwrap(), [asked]);
    }
}

#[tokio::test]
async fn credentials_are_given_to_the_proxy() {
    let echo = Echo::start("tcp://127.0.0.1:0", ServerTls::default()).await;
    let url = echo.endpoint.to_string();
    for kind in KINDS {
        let server = FakeProxy::start(Some("ann:p@ss:word")).await;
        check_echo(server.dial(kind, "ann:p%40ss%3Aword@", &url).await.unwrap()).await;
        for (credentials, had) in [("", false), ("ann:wrong@", true)] {
            let error = server.dial(kind, credentials, &url).await.unwrap_err();
            let DialError::Proxy(error) = error else { panic!("{error:?}") };
            assert!(
                matches!(&error, ProxyError::Credentials { had_credentials, .. } if *had_credentials == had),
                "{error:?}"
            );
            assert!(!error.to_string().contains("wrong"), "{error}");
        }
    }
}

#[tokio::test]
async fn tls_and_websocket_go_through_a_proxy() {
    let authority = Authority::new();
    for scheme in ["mqtts", "ws", "wss"] {
        let (certificate, key) = authority.server();
        let tls = ServerTls::new(certificate, key);
        let echo = Echo::start(&format!("{scheme}://127.0.0.1:0"), tls).await;
        for kind in KINDS {
            let server = FakeProxy::start(None).await;
            let mut how = server.how(kind, "");
            how.tls = authority.trusted();
            check_echo(dial_with(&echo.endpoint, &how).await.unwrap()).await;
            assert_eq!(server.asked.lock().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_host_that_the_proxy_cannot_reach_is_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for kind in KINDS {
        let server = FakeProxy::start(None).await;
        let error = server.dial(kind, "", &format!("tcp://{free}")).await.unwrap_err();
        let DialError::Proxy(ProxyError::Target { target, .. }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*target, free.to_string());
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_apart() {
    let wrong = Answers::start(vec![b"HTTP/1.1 401 Unauthorized\r\n\r\n".to_vec()]).await;
    let error = wrong.dial("http").await;
    assert!(matches!(error, ProxyError::Credentials { .. }), "{error}");
    let server = Answers::start(vec![b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec()]).await;
    let error = server.dial("http").await;
    assert!(matches!(&error, ProxyError::Refused { why, .. } if why == "403 Forbidden"), "{error}");
    let rules = vec![vec![5, 0], vec![5, 2, 0, 1, 0, 0, 0, 0, 0, 0]];
    let error = Answers::start(rules).await.dial("socks5h").await;
    assert!(matches!(&error, ProxyError::Refused { why, .. } if why.contains("rules")), "{error}");
}

/// TLS to the proxy, and another one through it to the host, each with its own authorities.
#[tokio::test]
async fn a_proxy_inside_of_tls() {
    let (proxies, hosts) = (Authority::new(), Authority::new());
    let echo = Echo::secure(hosts.issue("server", &["127.0.0.1"], |_| {})).await;
    let server = FakeProxy::secure(&proxies).await;
    let proxy = server.how("https", "").proxy.unwrap();
    let how =
        |proxy| Dial { proxy: Some(proxy), tls: hosts.trusted(), timeout: LONG, ..Dial::default() };
    let trusting = proxy.clone().tls(proxies.trusted());
    check_echo(dial_with(&echo.endpoint, &how(trusting)).await.unwrap()).await;
    assert_eq!(*server.asked.lock().unwrap(), [format!("127.0.0.1:{}", echo.port())]);
    let error = dial_with(&echo.endpoint, &how(proxy.tls(hosts.trusted()))).await.unwrap_err();
    let DialError::Proxy(ProxyError::Tls { error, .. }) = error else { panic!("{error:?}") };
    assert!(matches!(error, TlsError::UnknownCa { .. }), "{error:?}");
    // One that speaks no TLS.
    let plain = Answers::start(vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]).await;
    let error = plain.dial("https").await;
    let ProxyError::Tls { error, .. } = error else { panic!("{error:?}") };
    assert!(matches!(error, TlsError::NotTls(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_no_proxy_is_told() {
    for kind in KINDS {
        for answer in [b"".to_vec(), b"SSH-2.0-x\r\n\r\n".to_vec()] {
            let error = Answers::start(vec![answer]).await.dial(kind).await;
            assert!(matches!(error, ProxyError::NotAProxy { .. }), "{error:?}");
        }
    }
    let page = b"HTTP/1.1 200 OK\r\n\r\n<html>".to_vec();
    let error = Answers::start(vec![page]).await.dial("http").await;
    assert!(matches!(error, ProxyError::NotAProxy { .. }), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy: Proxy = format!("http://ann:hush@{free}").parse().unwrap();
    let how = Dial { proxy: Some(proxy), timeout: LONG, ..Dial::default() };
    let endpoint = Address::parse("tcp://127.0.0.1:1").unwrap().endpoint;
    let error = dial_with(&endpoint, &how).await.unwrap_err().to_string();
    assert!(error.contains(&format!("the proxy http://{free} cannot be reached")), "{error}");
}

#[test]
fn urls_of_proxies_are_judged() {
    for (url, expected) in [
        ("http://h", "http://h:8080"),
        ("http://ann:hush@h:80/", "http://h:80"),
        ("https://ann:hush@h", "https://h:443"),
        ("socks5://h:1", "socks5h://h:1"),
        ("SOCKS5H://[::1]", "socks5h://[::1]:1080"),
    ] {
        let proxy: Proxy = url.parse().unwrap();
        assert_eq!(proxy.to_string(), expected);
        assert!(!format!("{proxy:?}").contains("hush"));
    }
    for (url, what) in [
        ("h:80", "no scheme"),
        ("https://a%3Ab:hush@h", "user name with a colon"),
        ("socks4://h", "SOCKS 4"),
        ("ftp://h", "scheme is not offered"),
        ("http://", "host"),
        ("http://h/hush", "nothing may follow"),
        ("socks5h://:hush@h", "user name"),
    ] {
        let error = url.parse::<Proxy>().unwrap_err().to_string();
        assert!(error.contains(what), "{url}: {error}");
        assert!(!error.contains("hush"), "{url}: {error}");
    }
}

/// A proxy that speaks both ways, as little as needed. The name `broker.inside.invalid` is this machine's.
struct FakeProxy {
    host: &'static str,
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeProxy {
    async fn start(credentials: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, credentials, Arc::clone(&told)));
            }
        });
        Self { host: "127.0.0.1", port, asked }
    }

    /// Inside of TLS, under the name of a certificate of `authority`.
    async fn secure(authority: &Authority) -> Self {
        let plain = Self::start(None).await;
        let (certificate, key) = authority.issue("proxy", &["localhost"], |_| {});
        let place = Address::parse("mqtts://127.0.0.1:0").unwrap().endpoint;
        let tls = ServerTls::new(certificate, key);
        let listener = Listener::bind_with(&place, &tls).await.unwrap();
        let Endpoint::Tls { port, .. } = *listener.endpoint() else { panic!("no port") };
        let inner = plain.port;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let layers = listener.layers().cloned().unwrap_or_default();
                tokio::spawn(async move {
                    let mut opened = layers.open(stream).await.ok()?;
                    let mut proxy = TcpStream::connect(("127.0.0.1", inner)).await.ok()?;
                    copy_bidirectional(&mut opened, &mut proxy).await.ok()
                });
            }
        });
        Self { host: "localhost", port, ..plain }
    }

    fn how(&self, kind: &str, credentials: &str) -> Dial {
        let place = format!("{}:{}", self.host, self.port);
        let proxy = format!("{kind}://{credentials}{place}").parse().unwrap();
        Dial { proxy: Some(proxy), timeout: LONG, ..Dial::default() }
    }

    async fn dial(&self, kind: &str, credentials: &str, url: &str) -> Result<Stream, DialError> {
        dial_with(&Address::parse(url).unwrap().endpoint, &self.how(kind, credentials)).await
    }
}

async fn serve(
    mut stream: TcpStream,
    credentials: Option<&str>,
    asked: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut first = [0];
    stream.peek(&mut first).await.ok()?;
    let is_socks = first[0] == 5;
    let target = match is_socks {
        true => socks_request(&mut stream, credentials).await?,
        false => http_request(&mut stream, credentials).await?,
    };
    asked.lock().unwrap().push(target.clone());
    let target = target.replace("broker.inside.invalid", "127.0.0.1");
    let connected = TcpStream::connect(target).await;
    let answer: &[u8] = match (is_socks, &connected) {
        (true, Ok(_)) => &[5, 0, 0, 1, 127, 0, 0, 1, 0, 1],
        (true, Err(_)) => &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0],
        (false, Ok(_)) => b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n",
        (false, Err(_)) => b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
    };
    stream.write_all(answer).await.ok()?;
    copy_bidirectional(&mut stream, &mut connected.ok()?).await.ok()?;
    Some(())
}

async fn http_request(stream: &mut TcpStream, credentials: Option<&str>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let given = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    let wanted =
        credentials.map(|text| format!("Basic {}", Base64::encode_string(text.as_bytes())));
    if given != wanted.as_deref() {
        let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        stream.write_all(answer).await.ok()?;
        return None;
    }
    Some(head.split(' ').nth(1)?.to_owned())
}

async fn socks_request(stream: &mut TcpStream, credentials: Option<&str>) -> Option<String> {
    let [_, count] = bytes(stream).await?;
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await.ok()?;
    let method = if credentials.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        stream.write_all(&[5, 0xff]).await.ok()?;
        return None;
    }
    stream.write_all(&[5, method]).await.ok()?;
    if let Some(wanted) = credentials {
        let [_, len] = bytes(stream).await?;
        let user = text(stream, len).await?;
        let [len] = bytes(stream).await?;
        let password = text(stream, len).await?;
        let is_right = format!("{user}:{password}") == wanted;
        stream.write_all(&[1, u8::from(!is_right)]).await.ok()?;
        is_right.then_some(())?;
    }
    let [_, _, _, kind] = bytes(stream).await?;
    let host = match kind {
        1 => bytes::<4>(stream).await?.map(|byte| byte.to_string()).join("."),
        _ => {
            let [len] = bytes(stream).await?;
            text(stream, len).await?
        }
    };
    Some(format!("{host}:{}", stream.read_u16().await.ok()?))
}

async fn bytes<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

async fn text(stream: &mut TcpStream, len: u8) -> Option<String> {
    let mut bytes = vec![0; usize::from(len)];
    stream.read_exact(&mut bytes).await.ok()?;
    String::from_utf8(bytes).ok()
}

/// A server with one answer for each time that it is asked.
struct Answers {
    port: u16,
}

impl Answers {
    async fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut bytes = [0; 4096];
                assert_ne!(stream.read(&mut bytes).await.unwrap(), 0);
                stream.write_all(&answer).await.unwrap();
            }
        });
        Self { port }
    }

    async fn dial(&self, kind: &str) -> ProxyError {
        let proxy = format!("{kind}://127.0.0.1:{}", self.port).parse().unwrap();
        let how = Dial { proxy: Some(proxy), timeout: LONG, ..Dial::default() };
        let endpoint = Address::parse("tcp://127.0.0.1:1").unwrap().endpoint;
        match dial_with(&endpoint, &how).await {
            Err(DialError::Proxy(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}
