//! Streams over real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{ErrorKind, IoSlice},
    time::Duration,
};

use postrider_net::{Address, DialError, Endpoint, Listener, Stream, dial};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_tcp_stream_carries_bytes_both_ways() {
    let listener = Listener::bind(&endpoint("tcp://127.0.0.1:0")).await.unwrap();
    assert_ne!(listener.endpoint().to_string(), "tcp://127.0.0.1:0");
    echo(&listener).await;
}

#[tokio::test]
async fn an_ipv6_endpoint_keeps_its_brackets() {
    let Ok(listener) = Listener::bind(&endpoint("tcp://[::1]:0")).await else {
        return; // This machine has no IPv6.
    };
    assert!(listener.endpoint().to_string().starts_with("tcp://[::1]:"));
    echo(&listener).await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = Listener::bind(&endpoint("tcp://127.0.0.1:0")).await.unwrap();
    let error = Listener::bind(first.endpoint()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&first.endpoint().to_string()), "{error}");
}

#[tokio::test]
async fn a_closed_port_is_an_error_that_names_it() {
    let free = Listener::bind(&endpoint("tcp://127.0.0.1:0")).await.unwrap();
    let place = free.endpoint().clone();
    drop(free);
    let error = dial(&place, LONG).await.unwrap_err();
    assert!(matches!(error, DialError::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains(&place.to_string()), "{error}");
}

#[tokio::test]
async fn an_unknown_host_is_an_error_that_names_it() {
    let error = dial(&endpoint("mqtt://no-such-host.invalid"), LONG).await.unwrap_err();
    assert!(matches!(&error, DialError::Resolve { host, .. } if host == "no-such-host.invalid"));
}

#[tokio::test]
async fn a_detached_stream_goes_on_in_another_threads_runtime() {
    let listener = Listener::bind(&endpoint("tcp://127.0.0.1:0")).await.unwrap();
    let mut near = dial(listener.endpoint(), LONG).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    near.write_all(b"before").await.unwrap();
    let detached = far.detach().unwrap();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut far = detached.attach().unwrap();
            let mut bytes = [0; 6];
            far.read_exact(&mut bytes).await.unwrap();
            far.write_all(&bytes).await.unwrap();
        });
    });
    let mut bytes = [0; 6];
    near.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"before");
    thread.join().unwrap();
}

#[tokio::test]
async fn any_byte_stream_can_be_wrapped() {
    let (near, far) = tokio::io::duplex(64);
    let (mut near, mut far) =
        (Stream::new(near), Stream::new(far).detach().unwrap().attach().unwrap());
    near.write_all(b"hello").await.unwrap();
    near.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"hello");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_stream_carries_bytes_and_its_file_goes_with_the_listener() {
    let (_folder, path) = socket_path();
    let place = endpoint(&format!("unix:{path}"));
    let listener = Listener::bind(&place).await.unwrap();
    echo(&listener).await;
    let error = Listener::bind(&place).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    drop(listener);
    assert!(!std::path::Path::new(&path).exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_stale_socket_file_is_replaced_and_another_file_is_not() {
    let (_folder, path) = socket_path();
    let place = endpoint(&format!("unix:{path}"));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    echo(&Listener::bind(&place).await.unwrap()).await;
    std::fs::write(&path, "precious").unwrap();
    assert!(Listener::bind(&place).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

const LONG: Duration = Duration::from_secs(10);

fn endpoint(url: &str) -> Endpoint {
    Address::parse(url).unwrap().endpoint
}

#[cfg(unix)]
fn socket_path() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock").to_str().unwrap().to_owned();
    (folder, path)
}

/// Sends two slices in one call, and reads them back through the other end.
async fn echo(listener: &Listener) {
    let mut near = dial(listener.endpoint(), LONG).await.unwrap();
    let (mut far, peer) = listener.accept().await.unwrap();
    assert!(!peer.is_empty());
    assert!(tokio::io::AsyncWrite::is_write_vectored(&near));
    let sent = near.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b"two")]).await.unwrap();
    assert_eq!(sent, 6);
    let mut bytes = [0; 6];
    far.read_exact(&mut bytes).await.unwrap();
    far.write_all(&bytes).await.unwrap();
    drop(far);
    let mut back = Vec::new();
    near.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"onetwo");
}
