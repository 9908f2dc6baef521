//! The little of HTTP/1.1 that WebSocket and proxies need: one head each way.

use std::io;

use base64ct::{Base64, Encoding};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Stream;

/// The head of a response or a request, and what came after it.
#[derive(Debug)]
pub(crate) struct Head {
    /// Status code of a response, 0 in a request.
    pub(crate) status: u16,
    /// Reason phrase of a response; path of a request.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    /// Bytes after the head.
    pub(crate) rest: Vec<u8>,
}

/// Why there is no head.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The stream ended before.
    Ended,
    /// These first bytes are something else.
    NotHttp(Vec<u8>),
    /// It is longer than we read.
    TooLong,
    Io(io::Error),
}

/// Which side's head is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
}

/// Longest head, in bytes; what servers send has a few hundred.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header fields in it.
const HEADERS_MAX: usize = 64;

/// Writes a head.
pub(crate) async fn send(stream: &mut Stream, head: &str) -> io::Result<()> {
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await
}

/// Reads a head.
pub(crate) async fn receive(stream: &mut Stream, kind: Kind) -> Result<Head, HeadError> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(head) = parse(&bytes, kind)? {
            return Ok(head);
        }
        if bytes.len() >= HEAD_BYTES_MAX {
            return Err(HeadError::TooLong);
        }
        match stream.read_buf(&mut bytes).await.map_err(HeadError::Io)? {
            0 if bytes.is_empty() => return Err(HeadError::Ended),
            0 => return Err(HeadError::NotHttp(bytes)),
            _ => {}
        }
    }
}

fn parse(bytes: &[u8], kind: Kind) -> Result<Option<Head>, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let not_http = |_| HeadError::NotHttp(bytes.to_vec());
    let (status, line, len, fields) = match kind {
        Kind::Response => {
            let mut response = httparse::Response::new(&mut fields);
            let httparse::Status::Complete(len) = response.parse(bytes).map_err(not_http)? else {
                return Ok(None);
            };
            let reason = response.reason.unwrap_or_default().to_owned();
            (response.code.unwrap_or_default(), reason, len, response.headers)
        }
        Kind::Request => {
            let mut request = httparse::Request::new(&mut fields);
            let httparse::Status::Complete(len) = request.parse(bytes).map_err(not_http)? else {
                return Ok(None);
            };
            if request.method != Some("GET") {
                return Err(HeadError::NotHttp(bytes.to_vec()));
            }
            (0, request.path.unwrap_or_default().to_owned(), len, request.headers)
        }
    };
    let headers = fields
        .iter()
        .map(|field| {
            (field.name.to_ascii_lowercase(), String::from_utf8_lossy(field.value).into_owned())
        })
        .collect();
    Ok(Some(Head { status, line, headers, rest: bytes.get(len..).unwrap_or_default().to_vec() }))
}

impl Head {
    /// The first value of a field, whose name is in small letters.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// The values of a list, over all its fields.
    pub(crate) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.headers.iter().filter(move |(known, _)| known == name);
        fields.flat_map(|(_, value)| value.split(',')).map(str::trim)
    }
}

/// The value of an `Authorization` field.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", Base64::encode_string(format!("{user}:{password}").as_bytes()))
}

/// Whether a text can be the name of a field.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether a text can be the value of a field; with a line break it would be more than one.
pub(crate) fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}
