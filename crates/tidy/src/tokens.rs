//! Rust as a flat row of tokens, for rules that do not care about grammar.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

/// One token; groups appear as their two delimiters with what is between them.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token as written: an identifier, one punctuation character, a literal, or a delimiter.
    pub text: String,
    /// Line in the file, counted from 1.
    pub line: usize,
}

/// Flattens a stream. Doc comments appear as the attributes they stand for.
pub fn flat(stream: TokenStream) -> Vec<Token> {
    let mut row = Vec::new();
    push(stream, &mut row);
    row
}

/// Whether the tokens of `row` from `at` on are exactly `wanted`.
pub fn reads(row: &[Token], at: usize, wanted: &[&str]) -> bool {
    row.get(at..at + wanted.len())
        .is_some_and(|found| found.iter().zip(wanted).all(|(token, text)| token.text == *text))
}

fn push(stream: TokenStream, row: &mut Vec<Token>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                row.push(token(open.to_owned(), group.span_open()));
                push(group.stream(), row);
                row.push(token(close.to_owned(), group.span_close()));
            }
            TokenTree::Ident(ident) => row.push(token(ident.to_string(), ident.span())),
            TokenTree::Punct(punct) => row.push(token(punct.as_char().to_string(), punct.span())),
            TokenTree::Literal(literal) => row.push(token(literal.to_string(), literal.span())),
        }
    }
}

fn token(text: String, span: Span) -> Token {
    Token { text, line: span.start().line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_opened() {
        let row = flat("a\n{ b::C(1) }".parse().unwrap());
        let texts: Vec<&str> = row.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(texts, ["a", "{", "b", ":", ":", "C", "(", "1", ")", "}"]);
        assert_eq!((row[0].line, row[2].line), (1, 2));
        assert!(reads(&row, 2, &["b", ":", ":", "C"]));
        assert!(!reads(&row, 9, &["}", "}"]));
    }
}
