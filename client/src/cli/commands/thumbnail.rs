//! `rollcall thumbnail`.
use std::io::{self, IsTerminal as _};
use std::path::Path;

use rollcall_client::pb::GetThumbnailRequest;
use rollcall_client::pb::get_thumbnail_request::Of;

use super::connect;
use crate::cli::Outcome;
use crate::cli::args::{Args, Thumbnail};
use crate::cli::failure::Failure;
use crate::cli::out::Out;

pub(crate) async fn run(
    args: &Args,
    command: &Thumbnail,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    let to_stdout = command.output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::Local {
            reason: "INVALID_ARGUMENT",
            message: "a JPEG does not belong on a terminal: name a file with -o".to_owned(),
        });
    }
    let of = &command.of;
    let of = of
        .identity
        .map(Of::IdentityId)
        .or(of.track.map(Of::TrackId))
        .or(of.exemplar.map(Of::ExemplarId));
    let client = connect(args).await?;
    let picture = client
        .thumbnail(GetThumbnailRequest {
            of,
            aligned: command.aligned,
        })
        .await?;
    if to_stdout {
        out.bytes(&picture.jpeg)?;
    } else {
        std::fs::write(&command.output, &picture.jpeg)
            .map_err(|error| Failure::file(&command.output, "write", &error))?;
        out.note(&format!(
            "{}: exemplar {}, {} bytes",
            command.output.display(),
            picture.exemplar_id,
            picture.jpeg.len()
        ));
    }
    Ok(Outcome::Found)
}
