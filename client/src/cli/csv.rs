//! Comma-separated values, after RFC 4180: fields in quotes may hold commas, line breaks, and quotes twice.

/// One row: the line that it begins on, counted from 1, and its fields.
pub(crate) type Row = (usize, Vec<String>);

/// The rows of a text, empty lines left out.
///
/// # Errors
/// The line, and what is wrong there.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>, (usize, &'static str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rows = Vec::new();
    let (mut line, mut begun) = (1, 1);
    let mut fields = Vec::new();
    let mut field = String::new();
    // Whether the field was in quotes, and whether it still is.
    let (mut quoted, mut open) = (false, false);
    let mut characters = text.chars().peekable();
    loop {
        let next = characters.next();
        match next {
            Some('"') if open && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            Some('"') if open => open = false,
            Some(other) if open => {
                line += usize::from(other == '\n');
                field.push(other);
            }
            None if open => return Err((begun, "a quote is never closed")),
            Some('"') if field.is_empty() && !quoted => (quoted, open) = (true, true),
            Some('"') => return Err((line, "a quote stands in the middle of a field")),
            Some('\r') if characters.peek() == Some(&'\n') => {}
            Some(',') => {
                fields.push(std::mem::take(&mut field));
                quoted = false;
            }
            Some('\n') | None => {
                let empty = fields.is_empty() && field.is_empty() && !quoted;
                fields.push(std::mem::take(&mut field));
                let row = std::mem::take(&mut fields);
                if !empty {
                    rows.push((begun, row));
                }
                quoted = false;
                line += 1;
                begun = line;
            }
            Some(_) if quoted => return Err((line, "text stands behind a closed quote")),
            Some(other) => field.push(other),
        }
        if next.is_none() {
            return Ok(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_meant() {
        let read = |text| {
            let rows = rows(text).unwrap().into_iter();
            rows.map(|(line, fields)| format!("{line}:{}", fields.join("|")))
                .collect::<Vec<_>>()
        };
        assert_eq!(read("a,b\n1,2\n"), ["1:a|b", "2:1|2"]);
        assert_eq!(read("\u{feff}a,b\r\n\r\n1,\r\n"), ["1:a|b", "3:1|"]);
        assert_eq!(
            read("\"x, \"\"y\"\"\nz\",2\n3,\"\""),
            ["1:x, \"y\"\nz|2", "3:3|"]
        );
        assert_eq!(read(""), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_table_is_told_with_its_line() {
        assert_eq!(rows("a\nb\"c\n").unwrap_err().0, 2);
        assert_eq!(rows("a\n\"b\nc").unwrap_err().0, 2);
        assert_eq!(rows("\"a\"b").unwrap_err().0, 1);
    }
}
