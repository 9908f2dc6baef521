//! JSON as `mosquitto_sub` prints it, so that scripts find the same bytes.

/// A JSON value. Objects keep the order of their members, and members of the same name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// How it is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// On one line.
    #[default]
    Compact,
    /// One member a line, with tabs.
    Pretty,
}

impl Json {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Reads one value, with nothing but white space around it; `None` if that is not what it is.
    ///
    /// As lenient as Mosquitto's reader about numbers: `01` and `1.` pass.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text, depth: 0 };
        let value = reader.value()?;
        reader.skip_space();
        reader.rest.is_empty().then_some(value)
    }

    /// Appends the text of the value.
    pub(crate) fn write(&self, layout: Layout, out: &mut Vec<u8>) {
        self.write_at(layout, 0, out);
    }

    fn write_at(&self, layout: Layout, depth: usize, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => out.extend_from_slice(shown(*number).as_bytes()),
            Self::Text(text) => quote(text, out),
            Self::Array(items) => write_array(items, layout, depth + 1, out),
            Self::Object(members) => write_object(members, layout, depth + 1, out),
        }
    }
}

fn write_array(items: &[Json], layout: Layout, depth: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(if layout == Layout::Pretty { b", " } else { b"," });
        }
        item.write_at(layout, depth, out);
    }
    out.push(b']');
}

fn write_object(members: &[(String, Json)], layout: Layout, depth: usize, out: &mut Vec<u8>) {
    let is_pretty = layout == Layout::Pretty;
    let indent = |count: usize, out: &mut Vec<u8>| out.resize(out.len() + count, b'\t');
    out.push(b'{');
    if is_pretty {
        out.push(b'\n');
    }
    for (index, (name, value)) in members.iter().enumerate() {
        if is_pretty {
            indent(depth, out);
        }
        quote(name, out);
        out.extend_from_slice(if is_pretty { b":\t" } else { b":" });
        value.write_at(layout, depth, out);
        if index + 1 < members.len() {
            out.push(b',');
        }
        if is_pretty {
            out.push(b'\n');
        }
    }
    if is_pretty {
        indent(depth - 1, out);
    }
    out.push(b'}');
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..32 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The number in 15 digits, or 17 if that is another number; what JSON cannot hold is `null`.
fn shown(number: f64) -> String {
    if !number.is_finite() {
        return "null".to_owned();
    }
    let short = digits(number, 15);
    let read = short.parse::<f64>().unwrap_or(f64::NAN);
    let is_same = (read - number).abs() <= read.abs().max(number.abs()) * f64::EPSILON;
    if is_same { short } else { digits(number, 17) }
}

/// What C prints for `%.*g`.
fn digits(number: f64, digits: usize) -> String {
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let places = i32::try_from(digits).unwrap_or(i32::MAX) - 1 - exponent;
    match usize::try_from(places) {
        Ok(places) if exponent >= -4 => trim(&format!("{number:.places$}")),
        Ok(_) | Err(_) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Option<Json> {
        self.skip_space();
        match self.rest.bytes().next()? {
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'"' => self.string().map(Json::Text),
            b'-' | b'0'..=b'9' => self.number(),
            b'[' => self.nested(Self::array),
            b'{' => self.nested(Self::object),
            _ => None,
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<Json>) -> Option<Json> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        self.rest = self.rest.get(1..)?;
        let value = read(self)?;
        self.depth -= 1;
        Some(value)
    }

    fn array(&mut self) -> Option<Json> {
        let mut items = Vec::new();
        if self.take(']') {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            if self.take(']') {
                return Some(Json::Array(items));
            }
            self.take(',').then_some(())?;
        }
    }

    fn object(&mut self) -> Option<Json> {
        let mut members = Vec::new();
        if self.take('}') {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            self.take(':').then_some(())?;
            members.push((name, self.value()?));
            if self.take('}') {
                return Some(Json::Object(members));
            }
            self.take(',').then_some(())?;
        }
    }

    fn number(&mut self) -> Option<Json> {
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (text, _) = self.rest.split_at_checked(end)?;
        // The longest part that is a number, as strtod takes it.
        for len in (1..=text.len()).rev() {
            if let Some(number) = text.get(..len).and_then(|text| text.parse().ok()) {
                self.rest = self.rest.get(len..)?;
                return Some(Json::Number(number));
            }
        }
        None
    }

    fn string(&mut self) -> Option<String> {
        let mut rest = self.rest.strip_prefix('"')?;
        let mut text = String::new();
        loop {
            let at = rest.find(['"', '\\'])?;
            let (plain, behind) = rest.split_at_checked(at)?;
            text.push_str(plain);
            if let Some(behind) = behind.strip_prefix('"') {
                self.rest = behind;
                return Some(text);
            }
            let mut characters = behind.get(1..)?.chars();
            let escape = characters.next()?;
            rest = characters.as_str();
            text.push(match escape {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '"' | '\\' | '/' => escape,
                'u' => {
                    let (character, behind) = escaped(rest)?;
                    rest = behind;
                    character
                }
                _ => return None,
            });
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(value)
    }

    /// Whether this character comes next; white space before it is skipped.
    fn take(&mut self, character: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c <= ' ');
    }
}

/// The character of `XXXX` or `XXXX\uXXXX`, and what follows.
fn escaped(text: &str) -> Option<(char, &str)> {
    let unit = |text: &str| u32::from_str_radix(text.get(..4)?, 16).ok();
    let (first, rest) = (unit(text)?, text.get(4..)?);
    if let Some(character) = char::from_u32(first) {
        return Some((character, rest));
    }
    let rest = rest.strip_prefix("\\u")?;
    let pair = char::decode_utf16([u16::try_from(first).ok()?, u16::try_from(unit(rest)?).ok()?]);
    let character = pair.into_iter().next()?.ok()?;
    Some((character, rest.get(4..)?))
}

/// Arrays and objects within each other; keeps a hostile payload from the end of the stack.
const DEPTH_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let written = Json::parse(text).map(|value| {
            let mut out = Vec::new();
            value.write(Layout::Compact, &mut out);
            String::from_utf8(out).unwrap()
        });
        assert_eq!(written.as_deref(), expected, "{text}");
    }

    #[test]
    fn values_are_printed_as_mosquitto_does() {
        check(" {\"a\" : 27.0 } ", Some("{\"a\":27}"));
        check("[1.5e300,0.1,100000000000,-0,1e-7]", Some("[1.5e+300,0.1,100000000000,-0,1e-07]"));
        check("[12345678901234567890,123456.789,1E400]", Some(BIG));
        check("[01]", Some("[1]"));
        check("[1.]", Some("[1]"));
        check(r#""\ud83d\ude00 \u0001\/\n""#, Some("\"\u{1f600} \\u0001/\\n\""));
        check(r#"{"a":1,"a":2}"#, Some(r#"{"a":1,"a":2}"#));
        check("[true,false,null,[],{}]", Some("[true,false,null,[],{}]"));
    }

    const BIG: &str = "[1.2345678901234567e+19,123456.789,null]";

    #[test]
    fn what_is_no_json_is_refused() {
        for text in
            ["", "x", "{\"a\":1} x", "[1,]", "{\"a\"}", "\"\\x\"", "\"\\ud83d\"", "[1", "\""]
        {
            check(text, None);
        }
        check(&"[".repeat(100_000), None);
    }

    #[test]
    fn pretty_is_with_tabs() {
        let mut out = Vec::new();
        Json::parse(r#"{"a":1,"b":[1,"x",{}],"c":{"d":null}}"#)
            .unwrap()
            .write(Layout::Pretty, &mut out);
        let expected = "{\n\t\"a\":\t1,\n\t\"b\":\t[1, \"x\", {\n\t\t}],\n\t\"c\":\t{\n\t\t\"d\":\tnull\n\t}\n}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
