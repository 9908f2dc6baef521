//! The first program of the README is the example that is compiled and run.

use crate::Fault;

/// Compares the first Rust block of `readme` with the example, byte for byte, but for the line that holds the
/// broker's URL: the example takes it from its command line.
pub fn check(readme: &str, example: &str) -> Vec<Fault> {
    let file = "README.md";
    let Some(block) = first_rust_block(readme) else {
        return vec![Fault::of(file, "has no block of Rust")];
    };
    let shown: Vec<&str> = block.lines().collect();
    let compiled: Vec<&str> = example.lines().skip_while(|line| is_heading(line)).collect();
    let mut faults = Vec::new();
    for at in 0..shown.len().max(compiled.len()) {
        let (left, right) = (shown.get(at).copied(), compiled.get(at).copied());
        let is_url = left.is_some_and(|line| line.contains("mqtt://"));
        if left != right && !is_url {
            let says = format!(
                "line {} of the first program is {left:?}, the example has {right:?}",
                at + 1
            );
            faults.push(Fault::of(file, says));
        }
    }
    faults
}

/// The example's module doc and the blank line after it are not shown.
fn is_heading(line: &str) -> bool {
    line.starts_with("//!") || line.is_empty()
}

fn first_rust_block(readme: &str) -> Option<&str> {
    let (_, rest) = readme.split_once("```rust")?;
    let (_, rest) = rest.split_once('\n')?;
    rest.split_once("\n```").map(|(block, _)| block)
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str =
        "# Title\n```rust,no_run\nfn main() {\n    open(\"mqtt://a\");\n    go();\n}\n```\n";

    #[test]
    fn the_url_line_may_differ_and_nothing_else() {
        let same = "//! Doc.\n\nfn main() {\n    open(&url());\n    go();\n}\n";
        assert_eq!(check(README, same), []);
        assert_eq!(check(README, &same.replace("go();", "stop();")).len(), 1);
        assert_eq!(check(README, &format!("{same}fn more() {{}}\n")).len(), 1);
        assert_eq!(check("no code", same).len(), 1);
    }
}
