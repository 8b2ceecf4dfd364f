//! JSON as Python's `json.dumps(value, separators=(",", ":"))` writes it.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// `value` on one line, without a line feed. Real numbers are written as Python's `repr` writes them: the
/// fewest digits that give the number back, `1.0` for one, `1e-05` for a hundred thousandth.
#[must_use]
pub fn to_line<T: Serialize>(value: &T) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Python);
    value
        .serialize(&mut serializer)
        .expect("what is written here has names for keys, and memory takes it");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

struct Python;

impl Formatter for Python {
    fn write_f32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        // Python has no other real numbers: the digits are those of the same value in 64 bits.
        self.write_f64(writer, f64::from(value))
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(repr(value).as_bytes())
    }

    /// Characters beyond ASCII are escaped, as Python does unless told otherwise.
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            if character.is_ascii() {
                CompactFormatter
                    .write_string_fragment(writer, character.encode_utf8(&mut [0; 4]))?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

/// A real number as Python writes it.
fn repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&power) {
        let plain = format!("{value}");
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", power.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123_456.75, "123456.75"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (2.5e300, "2.5e+300"),
        ];
        for (value, text) in cases {
            assert_eq!(to_line(&value), text);
        }
        assert_eq!(to_line(&0.1f32), "0.10000000149011612");
        assert_eq!(
            to_line(&("a\"b\n", "ä", "😀", vec![1, 2])),
            r#"["a\"b\n","\u00e4","\ud83d\ude00",[1,2]]"#
        );
    }
}
