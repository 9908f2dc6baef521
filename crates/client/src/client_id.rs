//! The client identifier: the program's, or one that is made here.

use postrider_proto::wire::ClientId;

use crate::{
    ConnectError,
    builder::{seed, text},
};

/// The client id that a program wants; a made one if it wants none.
pub(crate) fn client_id(id: &str) -> Result<ClientId, ConnectError> {
    let text = if id.is_empty() {
        text("the client id", &made_client_id())
    } else {
        text("the client id", id)
    };
    text.map(ClientId::from_text)
}

/// 23 letters and digits, which every server takes. Spec: v3.1.1 [MQTT-3.1.3-5].
fn made_client_id() -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut id = String::from("postrider");
    let mut bits = u128::from(seed()) << 64 | u128::from(seed());
    for _ in 0..14 {
        id.push(char::from(LETTERS[usize::try_from(bits & 31).unwrap_or_default()]));
        bits >>= 5;
    }
    id
}
