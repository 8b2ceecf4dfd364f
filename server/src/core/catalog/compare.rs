//! Two catalogs beside each other, row by row: one as it is, one made anew from the log.

use super::CatalogError;
use super::write::CatalogWriter;
use rusqlite::types::Value;
use rusqlite::{Connection, Rows};
use std::path::Path;

impl CatalogWriter {
    /// An empty catalog of a log, in `path`; in memory without one.
    ///
    /// # Errors
    /// [`CatalogError`]: it cannot be made.
    pub(crate) fn made_anew(
        path: Option<&Path>,
        log_id: &str,
        epoch: u64,
    ) -> Result<Self, CatalogError> {
        match path {
            Some(path) => Ok(Self::open(path, log_id, epoch, 0)?.0),
            None => Self::begin_in(Connection::open_in_memory()?, log_id, epoch),
        }
    }

    /// Where this catalog first differs from another, by table and row; `None` if it does not. Cost: each table of
    /// both is read and sorted.
    ///
    /// # Errors
    /// [`CatalogError`]: one of them cannot be read.
    pub(crate) fn difference(&self, other: &Self) -> Result<Option<String>, CatalogError> {
        let tables = tables(&self.db)?;
        if tables != self::tables(&other.db)? {
            return Ok(Some("the tables are others".to_owned()));
        }
        for table in tables {
            if let Some(what) = of_table(&self.db, &other.db, &table)? {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }
}

fn tables(db: &Connection) -> Result<Vec<String>, CatalogError> {
    let query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
                 ORDER BY name";
    let mut statement = db.prepare(query)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn of_table(
    one: &Connection,
    other: &Connection,
    table: &str,
) -> Result<Option<String>, CatalogError> {
    let columns = one
        .prepare(&format!("SELECT * FROM {table}"))?
        .column_count();
    let all = (1..=columns).map(|column| column.to_string());
    let order = all.collect::<Vec<_>>().join(", ");
    let query = format!("SELECT * FROM {table} ORDER BY {order}");
    let (mut one, mut other) = (one.prepare(&query)?, other.prepare(&query)?);
    let (mut these, mut those) = (one.query([])?, other.query([])?);
    for number in 1_u64.. {
        match (row(&mut these, columns)?, row(&mut those, columns)?) {
            (None, None) => break,
            (this, that) if this == that => {}
            (this, that) => {
                let key = this.or(that).and_then(|row| row.into_iter().next());
                // The first column is a number wherever rows have one; names stay out of messages.
                let key = match key {
                    Some(Value::Integer(key)) => format!(", which begins with {key}"),
                    Some(Value::Null | Value::Real(_) | Value::Text(_) | Value::Blob(_)) | None => {
                        String::new()
                    }
                };
                return Ok(Some(format!("table {table}, row {number}{key}")));
            }
        }
    }
    Ok(None)
}

/// A row's values; `None` behind the last.
fn row(rows: &mut Rows<'_>, columns: usize) -> Result<Option<Vec<Value>>, CatalogError> {
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let values = (0..columns).map(|column| row.get(column));
    Ok(Some(values.collect::<Result<_, _>>()?))
}
