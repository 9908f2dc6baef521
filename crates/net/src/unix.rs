//! Unix domain sockets.

use std::{io, os::unix::fs::FileTypeExt, path::Path};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::Stream;

/// Connects to the socket at `path`.
pub(crate) async fn dial(path: &Path) -> io::Result<Stream> {
    Ok(Stream::unix(UnixStream::connect(path).await?))
}

/// Binds a socket at `path`. A socket file that nobody listens on any more is replaced; any other file is not.
pub(crate) async fn bind(path: &Path, backlog: i32) -> io::Result<UnixListener> {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(backlog)?;
    UnixListener::from_std(socket.into())
}
