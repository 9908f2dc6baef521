//! The format language of `mosquitto_sub -F`: reading it.

/// A format, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(pub(crate) Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Vec<u8>),
    /// `%t` and the like.
    Field(Field),
    /// `@H` and the like.
    Time(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) letter: char,
    pub(crate) is_left: bool,
    pub(crate) pad: u8,
    pub(crate) width: usize,
    pub(crate) precision: Option<usize>,
}

impl Format {
    /// Reads a format.
    ///
    /// # Errors
    /// Says which specifier is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '%' => pieces.push(field(&mut rest)?),
                '@' => pieces.push(match rest.next().ok_or("incomplete format specifier '@'")? {
                    '@' => Piece::Text(b"@".to_vec()),
                    letter => Piece::Time(letter),
                }),
                '\\' => push(&mut pieces, &[escape(rest.next())?]),
                _ => push(&mut pieces, character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Ok(Self(pieces))
    }
}

fn field(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Piece, String> {
    let incomplete = || "incomplete format specifier '%'".to_owned();
    let is_left = rest.next_if_eq(&'-').is_some();
    let pad = if rest.next_if_eq(&'0').is_some() { b'0' } else { b' ' };
    let width = number(rest)?;
    let precision = rest.next_if_eq(&'.').map(|_| number(rest)).transpose()?;
    let letter = rest.next().ok_or_else(incomplete)?;
    if !LETTERS.contains(letter) {
        return Err(format!("invalid format specifier '%{letter}'; there are {LETTERS}"));
    }
    Ok(Piece::Field(Field { letter, is_left, pad, width, precision }))
}

fn number(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<usize, String> {
    let mut number = 0;
    while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
        rest.next();
        number = number * 10 + usize::try_from(digit).unwrap_or(0);
        if number > WIDTH_MAX {
            return Err(format!("a width or precision above {WIDTH_MAX}"));
        }
    }
    Ok(number)
}

fn escape(letter: Option<char>) -> Result<u8, String> {
    Ok(match letter.ok_or("incomplete escape specifier '\\'")? {
        '\\' => b'\\',
        '0' => 0,
        'a' => 7,
        'e' => 27,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        other => return Err(format!("invalid escape specifier '\\{other}'")),
    })
}

fn push(pieces: &mut Vec<Piece>, bytes: &[u8]) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.extend_from_slice(bytes),
        Some(Piece::Field(_) | Piece::Time(_)) | None => pieces.push(Piece::Text(bytes.to_vec())),
    }
}

/// What may follow a `%`.
const LETTERS: &str = "%ACDEFIjJlmPpqRrStUxX";
/// More padding than anybody reads; bounds what one message prints.
const WIDTH_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, expected) in [
            ("%", "incomplete format specifier '%'"),
            ("a%-", "incomplete format specifier '%'"),
            ("%5.", "incomplete format specifier '%'"),
            ("@", "incomplete format specifier '@'"),
            ("\\", "incomplete escape specifier '\\'"),
            ("%k", "invalid format specifier '%k'"),
            ("\\q", "invalid escape specifier '\\q'"),
            ("%999999t", "above 100000"),
        ] {
            let said = Format::parse(text).unwrap_err();
            assert!(said.starts_with(expected) || said.ends_with(expected), "{text}: {said}");
        }
    }

    #[test]
    fn flags_width_and_precision_are_read() {
        let expected =
            Field { letter: 't', is_left: true, pad: b'0', width: 12, precision: Some(3) };
        assert_eq!(Format::parse("%-012.3t").unwrap().0, [Piece::Field(expected)]);
        let expected = [Piece::Text(b"a\x1b\0%".to_vec())];
        let read = Format::parse("a\\e\\0").unwrap().0;
        assert_eq!(read, [Piece::Text(expected.iter().flat_map(|_| *b"a\x1b\0").collect())]);
    }
}
