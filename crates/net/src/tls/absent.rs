//! A program without TLS: what needs it is refused by name.

use super::{ServerTls, Tls, TlsError};
use crate::Stream;

/// Nobody has one.
#[derive(Clone, Debug)]
pub(crate) enum Acceptor {}

/// Nor was one read again.
pub(crate) enum Renewal {}

impl ServerTls {
    pub(crate) fn acceptor(&self) -> Result<Acceptor, TlsError> {
        Err(TlsError::Absent)
    }
}

impl Acceptor {
    pub(crate) fn renewal(&self) -> Result<Renewal, TlsError> {
        match *self {}
    }
}

impl Renewal {
    pub(crate) fn apply(self) {
        match self {}
    }
}

pub(crate) async fn connect(_below: Stream, _host: &str, _tls: &Tls) -> Result<Stream, TlsError> {
    Err(TlsError::Absent)
}

pub(crate) async fn accept(acceptor: &Acceptor, _below: Stream) -> Result<Stream, TlsError> {
    match *acceptor {}
}

#[cfg(test)]
mod tests {
    use crate::{Address, Dial, DialError, Listener, TlsError, dial_with};

    #[tokio::test]
    async fn what_needs_tls_is_refused_by_name() {
        let plain = Address::parse("tcp://127.0.0.1:0").unwrap().endpoint;
        let listener = Listener::bind(&plain).await.unwrap();
        for scheme in ["mqtts", "wss"] {
            let url = listener.endpoint().to_string().replace("tcp", scheme);
            let endpoint = Address::parse(&url).unwrap().endpoint;
            let error = dial_with(&endpoint, &Dial::default()).await.unwrap_err();
            let DialError::Tls { source, .. } = &error else { panic!("{error:?}") };
            assert_eq!(*source, TlsError::Absent);
            assert!(error.to_string().contains("the feature ring"), "{error}");
            let error = Listener::bind(&endpoint).await.unwrap_err();
            assert_eq!(TlsError::find(&error), Some(&TlsError::Absent));
        }
    }
}
