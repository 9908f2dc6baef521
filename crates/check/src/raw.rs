//! Raw bytes in text, such as `82 00 01 [ ] "a/b" 00`.

use std::collections::BTreeMap;

/// Bytes with places that are filled in when a case is played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raw(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    /// The word of the play.
    Word,
    /// Two bytes of length, and what they count.
    Text(Raw),
    /// 5.0 only: a variable byte integer, and what it counts.
    Properties(Raw),
    /// A packet identifier seen before.
    Id(String),
    /// The protocol level of CONNECT.
    Level,
    Repeat(Raw, usize),
    /// One packet ends and the next begins.
    Next,
}

/// What fills the places.
pub(crate) struct Fill<'a> {
    pub(crate) level: u8,
    pub(crate) has_properties: bool,
    pub(crate) word: &'a str,
    pub(crate) ids: &'a BTreeMap<String, u16>,
}

impl Raw {
    /// Reads raw bytes:
    /// - `3f` one byte
    /// - `'text'` its bytes; `%` is the word of the play, `\xff` one byte
    /// - `"text"` the same behind two bytes of length
    /// - `[ 26 "a" "b" ]` 5.0 only: properties behind their length
    /// - `$a` two bytes: the packet identifier that `expect` called so; `$level` the protocol level
    /// - `TOKEN*70` seventy times; in quotes, the content; `( 01 02 )*70` several tokens
    /// - `;` the next packet
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut tokens = tokens(text)?.into_iter();
        let raw = Self::parse_until(&mut tokens, false)?;
        Ok(raw)
    }

    fn parse_until(
        tokens: &mut impl Iterator<Item = String>,
        is_inside: bool,
    ) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        while let Some(token) = tokens.next() {
            match token.as_str() {
                "[" => parts.push(Part::Properties(Self::parse_until(tokens, true)?)),
                "]" if is_inside => return Ok(Self(parts)),
                "(" => parts.push(Self::parse_group(tokens)?),
                ";" => parts.push(Part::Next),
                "$level" => parts.push(Part::Level),
                other => parts.push(part(other)?),
            }
        }
        if is_inside { Err("'[' without ']'") } else { Ok(Self(parts)) }
    }

    /// Tokens up to `)*N`.
    fn parse_group(tokens: &mut impl Iterator<Item = String>) -> Result<Part, &'static str> {
        let mut parts = Vec::new();
        for token in tokens {
            if let Some(times) = token.strip_prefix(")*") {
                let times = times.parse().map_err(|_| "'*' stands before a number")?;
                return Ok(Part::Repeat(Self(parts), times));
            }
            parts.push(part(&token)?);
        }
        Err("'(' without ')*70'")
    }

    /// The bytes as they stand.
    pub(crate) fn bytes(&self, fill: &Fill<'_>) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Word => out.extend_from_slice(fill.word.as_bytes()),
                Part::Text(text) => string(&text.bytes(fill)?, &mut out),
                Part::Properties(list) if fill.has_properties => {
                    let bytes = list.bytes(fill)?;
                    var_int(bytes.len(), &mut out);
                    out.extend_from_slice(&bytes);
                }
                Part::Properties(_) | Part::Next => {}
                Part::Id(name) => {
                    let id =
                        fill.ids.get(name).ok_or_else(|| format!("no id is called ${name}"))?;
                    out.extend_from_slice(&id.to_be_bytes());
                }
                Part::Level => out.push(fill.level),
                Part::Repeat(raw, times) => out.extend(raw.bytes(fill)?.repeat(*times)),
            }
        }
        Ok(out)
    }

    /// Whole packets: the first byte of each, the length of the rest, the rest.
    pub(crate) fn packets(&self, fill: &Fill<'_>) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        for parts in self.0.split(|part| *part == Part::Next) {
            let bytes = Self(parts.to_vec()).bytes(fill)?;
            let (first, body) = bytes.split_first().ok_or("a packet has a first byte")?;
            packet(*first, body, &mut out);
        }
        Ok(out)
    }
}

/// Appends a whole packet.
pub(crate) fn packet(first: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    var_int(body.len(), out);
    out.extend_from_slice(body);
}

/// Appends a string or binary data. What is too long keeps its last two bytes of length, which is wrong on purpose.
pub(crate) fn string(text: &[u8], out: &mut Vec<u8>) {
    let [.., high, low] = text.len().to_be_bytes();
    out.extend_from_slice(&[high, low]);
    out.extend_from_slice(text);
}

/// Appends a variable byte integer.
pub(crate) fn var_int(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        out.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

fn part(token: &str) -> Result<Part, &'static str> {
    if let Some((what, times)) = token.rsplit_once('*').filter(|(_, times)| is_number(times)) {
        let times = times.parse().map_err(|_| "'*' stands before a number")?;
        let part = part(what)?;
        return Ok(if let Part::Text(inside) = part {
            Part::Text(Raw(vec![Part::Repeat(inside, times)]))
        } else {
            Part::Repeat(Raw(vec![part]), times)
        });
    }
    if let Some(name) = token.strip_prefix('$') {
        return Ok(Part::Id(name.to_owned()));
    }
    let inside = |quote: char| token.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(text) = inside('\'') {
        return Ok(Part::Repeat(quoted(text)?, 1));
    }
    if let Some(text) = inside('"') {
        return Ok(Part::Text(quoted(text)?));
    }
    let is_byte = token.len() == 2;
    let byte = u8::from_str_radix(token, 16).ok().filter(|_| is_byte);
    byte.map(|byte| Part::Bytes(vec![byte])).ok_or("bytes are two hexadecimal digits or 'text'")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn quoted(text: &str) -> Result<Raw, &'static str> {
    let mut parts = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("\\x") {
            let digits = hex.get(..2).ok_or("'\\x' stands before two digits")?;
            let byte = u8::from_str_radix(digits, 16);
            bytes.push(byte.map_err(|_| "'\\x' stands before two digits")?);
            rest = hex.get(2..).unwrap_or_default();
            continue;
        }
        if next == '%' {
            parts.push(Part::Bytes(std::mem::take(&mut bytes)));
            parts.push(Part::Word);
        } else {
            bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
        }
        rest = rest.get(next.len_utf8()..).unwrap_or_default();
    }
    parts.push(Part::Bytes(bytes));
    Ok(Raw(parts))
}

/// Splits at spaces outside of quotes.
fn tokens(text: &str) -> Result<Vec<String>, &'static str> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    let mut quote = None;
    for next in text.chars() {
        if next == ' ' && quote.is_none() {
            tokens.extend(Some(std::mem::take(&mut token)).filter(|token| !token.is_empty()));
            continue;
        }
        match quote {
            Some(open) if open == next => quote = None,
            None if matches!(next, '\'' | '"') => quote = Some(next),
            Some(_) | None => {}
        }
        token.push(next);
    }
    tokens.extend(Some(token).filter(|token| !token.is_empty()));
    if quote.is_some() { Err("a quote is not closed") } else { Ok(tokens) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(text: &str, has_properties: bool) -> Vec<u8> {
        let ids = BTreeMap::from([("a".to_owned(), 0x1234)]);
        let level = if has_properties { 5 } else { 4 };
        let fill = Fill { level, has_properties, word: "w0rd", ids: &ids };
        Raw::parse(text).unwrap().packets(&fill).unwrap()
    }

    #[test]
    fn lengths_are_counted() {
        assert_eq!(
            packets("82 00 01 [ 0b 07 ] \"a/%\" 00", true),
            b"\x82\x0e\x00\x01\x02\x0b\x07\x00\x06a/w0rd\x00"
        );
        assert_eq!(packets("82 00 01 [ 0b 07 ] \"a\" 00", false), b"\x82\x06\x00\x01\x00\x01a\x00");
        assert_eq!(packets("c0 ; 10 \"MQTT\" $level", true), b"\xc0\x00\x10\x07\x00\x04MQTT\x05");
        assert_eq!(packets("40 $a", true), b"\x40\x02\x12\x34");
    }

    #[test]
    fn tokens_repeat() {
        assert_eq!(
            packets("30 \"ab\"*2 'x y'*2 ff*3", true),
            b"\x30\x0f\x00\x04ababx yx y\xff\xff\xff"
        );
        assert_eq!(packets("30 '\\xff%'", true), b"\x30\x05\xffw0rd");
        assert_eq!(packets("30 ( 01 \"a\" )*2", true), b"\x30\x08\x01\x00\x01a\x01\x00\x01a");
        assert_eq!(packets("30 00*128", true).get(..4), Some(&b"\x30\x80\x01\x00"[..]));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, what) in [
            ("30 1g", "bytes are two hexadecimal digits or 'text'"),
            ("30 123", "bytes are two hexadecimal digits or 'text'"),
            ("30 [ 00", "'[' without ']'"),
            ("30 ( 00", "'(' without ')*70'"),
            ("30 'a", "a quote is not closed"),
            ("30 '\\x1'", "'\\x' stands before two digits"),
        ] {
            assert_eq!(Raw::parse(text), Err(what), "{text}");
        }
    }
}
