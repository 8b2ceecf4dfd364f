//! Files of lines, one at a time.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

/// Bytes of a line, at most: more than any line of a face needs.
const LINE_BYTES_MAX: u64 = 1 << 24;

/// The lines of a file, each with its number from 1, without its end.
pub(crate) struct Lines {
    reader: BufReader<File>,
    number: usize,
    bytes_max: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            reader: BufReader::new(File::open(path)?),
            number: 0,
            bytes_max: LINE_BYTES_MAX,
        })
    }

    fn read(&mut self) -> Result<Option<String>, String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(self.bytes_max);
        let read = limited.read_until(b'\n', &mut line);
        if read.map_err(|why| why.to_string())? == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            line.pop_if(|last| *last == b'\r');
        } else if limited.limit() == 0 {
            return Err(format!("longer than {} bytes", self.bytes_max));
        }
        let text = String::from_utf8(line);
        text.map(Some).map_err(|_| "not UTF-8".to_owned())
    }
}

/// Each line with its number, or what is wrong in it. After the latter there is no more.
impl Iterator for Lines {
    type Item = Result<(usize, String), (usize, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.number += 1;
        match self.read() {
            Ok(line) => Some(Ok((self.number, line?))),
            Err(why) => {
                // What follows is the rest of a line, or cannot be read.
                self.bytes_max = 0;
                Some(Err((self.number, why)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_not_endless() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let check = |text: &[u8], bytes_max: u64, expected: &[Result<&str, &str>]| {
            std::fs::write(&path, text).unwrap();
            let mut lines = Lines::open(&path).unwrap();
            lines.bytes_max = bytes_max;
            let found: Vec<_> = lines.collect();
            let expected = expected.iter().zip(1..).map(|(line, number)| match line {
                Ok(line) => Ok((number, (*line).to_owned())),
                Err(why) => Err((number, (*why).to_owned())),
            });
            assert_eq!(found, expected.collect::<Vec<_>>());
        };
        check(b"", 9, &[]);
        check(b"a\r\n\nb", 9, &[Ok("a"), Ok(""), Ok("b")]);
        check(b"a\nb\n", 9, &[Ok("a"), Ok("b")]);
        check(b"ab\nabc\nab\n", 3, &[Ok("ab"), Err("longer than 3 bytes")]);
        check(b"a\n\xff\nb\n", 9, &[Ok("a"), Err("not UTF-8")]);
    }
}
