//! Servers for tests.

use std::{path::PathBuf, time::Duration};

use postrider_net::{
    Address, Dial, DialError, Endpoint, LayerError, Layers, Listener, ServerTls, Stream, Tls,
    TlsError, dial_with,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

/// A server of ours that sends back what it gets, each connection to its end. What came of the first stands in `first`.
pub(crate) struct Echo {
    pub(crate) endpoint: Endpoint,
    pub(crate) layers: Layers,
    pub(crate) first: JoinHandle<Result<(), LayerError>>,
}

impl Echo {
    pub(crate) async fn start(url: &str, tls: ServerTls) -> Self {
        let place = Address::parse(url).unwrap().endpoint;
        let listener = Listener::bind_with(&place, &tls).await.unwrap();
        let endpoint = listener.endpoint().clone();
        let layers = listener.layers().cloned().unwrap_or_default();
        let own = layers.clone();
        let first = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let served = serve(layers.open(stream).await).await;
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let layers = layers.clone();
                    tokio::spawn(async move { serve(layers.open(stream).await).await });
                }
            });
            served
        });
        Self { endpoint, layers: own, first }
    }

    /// With TLS and a certificate.
    pub(crate) async fn secure((certificate, key): (PathBuf, PathBuf)) -> Self {
        Self::start("mqtts://127.0.0.1:0", ServerTls::new(certificate, key)).await
    }

    /// The same place under the name `localhost`.
    pub(crate) fn at(&self, name: &str) -> Endpoint {
        let mut endpoint = self.endpoint.clone();
        if let Endpoint::Tls { host, .. }
        | Endpoint::Tcp { host, .. }
        | Endpoint::WebSocket { host, .. } = &mut endpoint
        {
            name.clone_into(host);
        }
        endpoint
    }

    pub(crate) fn port(&self) -> u16 {
        match &self.endpoint {
            Endpoint::Tls { port, .. }
            | Endpoint::Tcp { port, .. }
            | Endpoint::WebSocket { port, .. } => *port,
            other => panic!("{other}"),
        }
    }
}

async fn serve(opened: Result<Stream, LayerError>) -> Result<(), LayerError> {
    let mut stream = opened?;
    let mut bytes = vec![0; 64 * 1024];
    // A client that goes away in the middle is no matter of the server's.
    while let Ok(len @ 1..) = stream.read(&mut bytes).await {
        if stream.write_all(&bytes[..len]).await.is_err() || stream.flush().await.is_err() {
            break;
        }
    }
    let _ = stream.shutdown().await;
    Ok(())
}

/// Dials with TLS options.
pub(crate) async fn dial_tls(endpoint: &Endpoint, tls: Tls) -> Result<Stream, DialError> {
    dial_with(endpoint, &Dial { tls, timeout: LONG, ..Dial::default() }).await
}

/// Why TLS options do not work with a server.
pub(crate) async fn tls_error(endpoint: &Endpoint, tls: Tls) -> TlsError {
    match dial_tls(endpoint, tls).await {
        Err(DialError::Tls { source, .. }) => source,
        Err(other) => panic!("{other:?}"),
        Ok(mut stream) => match ends_with(&mut stream).await {
            Some(error) => error,
            None => panic!("it works"),
        },
    }
}

/// What ends a stream on which nothing is sent: in TLS 1.3 a client hears of a refusal only by reading.
pub(crate) async fn ends_with(stream: &mut Stream) -> Option<TlsError> {
    let mut byte = [0; 1];
    let error = stream.read(&mut byte).await.err()?;
    TlsError::find(&error).cloned()
}

/// Sends a text and reads it back, then some more than any buffer holds.
pub(crate) async fn check_echo(mut stream: Stream) {
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
    let sent: Vec<u8> = (0..1_000_003_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut back = vec![0; sent.len()];
    let write = async {
        writing.write_all(&sent).await.unwrap();
        writing.flush().await.unwrap();
    };
    let ((), read) = tokio::join!(write, reading.read_exact(&mut back));
    read.unwrap();
    assert!(back == sent);
    writing.shutdown().await.unwrap();
    assert_eq!(reading.read(&mut [0; 1]).await.unwrap(), 0);
}

pub(crate) const LONG: Duration = Duration::from_secs(20);
