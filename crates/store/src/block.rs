//! Blocks: what is written to the log at once. `docs/format.md` shows the bytes.

use bytes::{Buf, BufMut, Bytes};

/// What a disk writes at once, or not at all; blocks begin and end with one.
pub(crate) const SECTOR: usize = 512;

const HEAD_LEN: usize = 20;
const END_LEN: usize = 28;

/// Names what one opening of a store wrote, so that nothing else looks like it: a number that nobody outside can know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) u64);

/// What the end of a block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) number: u64,
    /// The last block that certainly was synced when this one was written.
    pub(crate) synced: u64,
}

/// The bytes before and behind the body of a block.
pub(crate) fn frame(end: End, salt: Salt, body: &[Bytes]) -> (Vec<u8>, Vec<u8>) {
    let mut sum = crc32fast::Hasher::new();
    body.iter().for_each(|part| sum.update(part));
    let body_len: usize = body.iter().map(Bytes::len).sum();
    let mut head = Vec::with_capacity(HEAD_LEN);
    head.put_u64(end.number);
    head.put_u32(u32::try_from(body_len).unwrap_or(u32::MAX));
    head.put_u32(sum.finalize());
    head.put_u32(head_sum(&head, salt));
    let padding = padded(body_len) - HEAD_LEN - body_len - END_LEN;
    let mut tail = vec![0; padding];
    let from = tail.len();
    tail.put_u64(salt.0);
    tail.put_u64(end.number);
    tail.put_u64(end.synced);
    tail.put_u32(crc32fast::hash(tail.get(from..).unwrap_or_default()));
    (head, tail)
}

/// The block that begins with the first of these bytes: its number, its body and its length.
pub(crate) fn first(bytes: &Bytes, salt: Salt) -> Option<(u64, Bytes, usize)> {
    let (mut head, rest) = bytes.split_at_checked(HEAD_LEN)?;
    let (checked, mut found) = head.split_at_checked(HEAD_LEN - 4)?;
    if head_sum(checked, salt) != found.get_u32() {
        return None;
    }
    let (number, body_len, sum) = (head.get_u64(), head.get_u32(), head.get_u32());
    let body = rest.get(..usize::try_from(body_len).ok()?)?;
    (crc32fast::hash(body) == sum).then(|| (number, bytes.slice_ref(body), padded(body.len())))
}

/// What all the ends of blocks say that lie in these bytes, wherever.
pub(crate) fn ends(bytes: &[u8], salt: Salt) -> impl Iterator<Item = End> {
    bytes.chunks_exact(SECTOR).filter_map(move |sector| {
        let mut end = sector.last_chunk::<END_LEN>()?.as_slice();
        let (checked, mut sum) = end.split_at_checked(END_LEN - 4)?;
        let is_ours = end.get_u64() == salt.0 && crc32fast::hash(checked) == sum.get_u32();
        is_ours.then(|| End { number: end.get_u64(), synced: end.get_u64() })
    })
}

/// Bytes of a block with a body of this length.
fn padded(body_len: usize) -> usize {
    (HEAD_LEN + body_len + END_LEN).next_multiple_of(SECTOR)
}

fn head_sum(head: &[u8], salt: Salt) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&salt.0.to_be_bytes());
    sum.update(head);
    sum.finalize()
}
