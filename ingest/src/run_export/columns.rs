//! Faces as Parquet, in the columns that `FaceSet::read` knows.

use std::{fs::File, path::Path, sync::Arc};

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, FloatType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use rollcall_index::vectors::Known;
use rollcall_ingest::faceset::FaceSet;

const SCHEMA: &str = "message faces {
    optional binary name (UTF8);
    optional int64 identity;
    optional int64 track;
    optional int64 source;
    optional int64 time_us;
    required group embedding (LIST) { repeated group list { required float element; } }
}";
/// Faces of a row group.
const GROUP: usize = 16_384;

pub(super) fn write_parquet(faces: &FaceSet, to: &Path) -> anyhow::Result<()> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = SerializedFileWriter::new(File::create(to)?, schema, Arc::new(properties))?;
    let rows: Vec<usize> = (0..faces.len()).collect();
    let columns: [fn(&Known) -> Option<u64>; 3] = [
        |known| known.identity,
        |known| known.track,
        |known| known.source,
    ];
    for rows in rows.chunks(GROUP) {
        let mut group = writer.next_row_group()?;
        let known = || rows.iter().map(|row| &faces.known()[*row]);

        let mut column = group.next_column()?.expect("the schema has it");
        let names = rows.iter().filter_map(|row| faces.name(*row));
        let names: Vec<ByteArray> = names.map(ByteArray::from).collect();
        // All rows have names, or none has.
        let there = vec![i16::from(!names.is_empty()); rows.len()];
        column
            .typed::<ByteArrayType>()
            .write_batch(&names, Some(&there), None)?;
        column.close()?;

        for of in columns {
            let values = known()
                .map(of)
                .map(|value| value.map(i64::try_from).transpose());
            let values: Vec<Option<i64>> = values.collect::<Result<_, _>>()?;
            write_optional(&mut group, &values)?;
        }
        let times: Vec<Option<i64>> = known().map(|known| known.time_us).collect();
        write_optional(&mut group, &times)?;

        let mut column = group.next_column()?.expect("the schema has it");
        let values: Vec<f32> = rows
            .iter()
            .flat_map(|row| faces.embedding(*row))
            .copied()
            .collect();
        let dimension = faces.dimension();
        let repeated: Vec<i16> = (0..values.len())
            .map(|at| i16::from(at % dimension != 0))
            .collect();
        let there = vec![1; values.len()];
        column
            .typed::<FloatType>()
            .write_batch(&values, Some(&there), Some(&repeated))?;
        column.close()?;
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

fn write_optional(
    group: &mut parquet::file::writer::SerializedRowGroupWriter<'_, File>,
    values: &[Option<i64>],
) -> anyhow::Result<()> {
    let mut column = group.next_column()?.expect("the schema has it");
    let there: Vec<i16> = values
        .iter()
        .map(|value| i16::from(value.is_some()))
        .collect();
    let values: Vec<i64> = values.iter().copied().flatten().collect();
    column
        .typed::<Int64Type>()
        .write_batch(&values, Some(&there), None)?;
    column.close()?;
    Ok(())
}
