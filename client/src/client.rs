//! The connection and one method per call of the API.
use std::future::Future;

use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::error::{Error, innermost};
use crate::options::{Bearer, ClientOptions};
use crate::pb;
use crate::random;
use crate::watch::{Follow, TrackFaces, Watch, WatchOptions};

/// Signs of life are asked for this often on an idle connection, so that a dead peer is noticed.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(15);

/// A connection to one server. Cloning is cheap and shares the connection, which is made again
/// by itself after it broke.
///
/// Every method returns [`Error::Unreachable`], [`Error::Timeout`] or what the server said
/// ([`Error::Server`], whose reasons the `.proto` files name per call). Reads are tried again
/// while the server is unavailable ([`ClientOptions::read_retries`]); mutations never, but an
/// empty `request_id` is filled in, so that a caller who keeps the request can repeat it.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) channel: InterceptedService<Channel, Bearer>,
    pub(crate) endpoint: String,
    pub(crate) options: ClientOptions,
}

/// `call!(self, read, service::Client.method(request))`: one gRPC call by way of `read` or `write`.
macro_rules! call {
    ($self:ident, $kind:ident, $service:ident::$client:ident.$method:ident($request:expr)) => {{
        let request = $request;
        $self
            .$kind(|| {
                let mut client = pb::$service::$client::new($self.channel.clone())
                    .max_decoding_message_size($self.options.message_bytes_max)
                    .max_encoding_message_size($self.options.message_bytes_max);
                let request = $self.request(request.clone());
                async move { client.$method(request).await }
            })
            .await
    }};
}

mod alerts;
mod privacy;

impl Client {
    /// Connects to a server such as `http://127.0.0.1:50551` or `https://faces.example:50551`.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if that is no address, or what [`ClientOptions::tls`] holds cannot be used there,
    /// [`Error::Unreachable`] if nothing answers there within the connect timeout.
    pub async fn connect(endpoint: &str, options: ClientOptions) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Endpoint {
            endpoint: endpoint.to_owned(),
            why: why.to_owned(),
        };
        let secure = endpoint.starts_with("https://");
        if !secure && !endpoint.starts_with("http://") {
            return Err(wrong("it does not begin with http:// or https://"));
        }
        if !secure && !options.tls.is_default() {
            return Err(wrong(
                "certificates are for addresses that begin with https://",
            ));
        }
        let mut channel = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|error| wrong(&error.to_string()))?;
        if secure {
            let tls = channel.tls_config(options.tls.config());
            channel = tls.map_err(|error| wrong(&innermost(&error)))?;
        }
        let channel = channel
            .connect_timeout(options.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(|error| Error::from_connect(endpoint, &error))?;
        let bearer = Bearer(options.key.clone());
        Ok(Self {
            channel: InterceptedService::new(channel, bearer),
            endpoint: endpoint.to_owned(),
            options,
        })
    }

    /// The server's address, as given to [`Client::connect`].
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How the server is doing.
    pub async fn status(&self) -> Result<pb::Status, Error> {
        call!(
            self,
            read,
            admin_service_client::AdminServiceClient.get_status(pb::GetStatusRequest {})
        )
    }

    /// Goes over to another embedding model, or says what that would be (`dry_run`).
    pub async fn start_migration(
        &self,
        mut request: pb::StartMigrationRequest,
    ) -> Result<pb::Migration, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            admin_service_client::AdminServiceClient.start_migration(request)
        )
    }

    /// The last migration, on or over.
    pub async fn migration(&self) -> Result<pb::Migration, Error> {
        call!(
            self,
            read,
            admin_service_client::AdminServiceClient.get_migration(pb::GetMigrationRequest {})
        )
    }

    /// Gives a migration up before the switch.
    pub async fn cancel_migration(
        &self,
        mut request: pb::EndMigrationRequest,
    ) -> Result<pb::Migration, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            admin_service_client::AdminServiceClient.cancel_migration(request)
        )
    }

    /// Goes back to the old model after the switch.
    pub async fn roll_back_migration(
        &self,
        mut request: pb::EndMigrationRequest,
    ) -> Result<pb::Migration, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            admin_service_client::AdminServiceClient.roll_back_migration(request)
        )
    }

    /// Drops the old model after the switch.
    pub async fn finish_migration(
        &self,
        mut request: pb::EndMigrationRequest,
    ) -> Result<pb::Migration, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            admin_service_client::AdminServiceClient.finish_migration(request)
        )
    }

    /// Who is on this picture, and where were they seen? Hits come highest cosine first.
    pub async fn search_image(
        &self,
        request: pb::SearchImageRequest,
    ) -> Result<pb::SearchResponse, Error> {
        call!(
            self,
            read,
            search_service_client::SearchServiceClient.search_image(request)
        )
    }

    /// The same with an embedding made by the model of the collection's contract.
    pub async fn search_embedding(
        &self,
        request: pb::SearchEmbeddingRequest,
    ) -> Result<pb::SearchResponse, Error> {
        call!(
            self,
            read,
            search_service_client::SearchServiceClient.search_embedding(request)
        )
    }

    /// What is known already, then new sightings as they happen.
    pub async fn follow(&self, request: pb::FollowRequest) -> Result<Follow, Error> {
        let opening = async {
            let mut client =
                pb::search_service_client::SearchServiceClient::new(self.channel.clone())
                    .max_decoding_message_size(self.options.message_bytes_max)
                    .max_encoding_message_size(self.options.message_bytes_max);
            client.follow(request).await
        };
        let stream = self.opened(opening).await?;
        Ok(Follow::new(stream, self.endpoint.clone()))
    }

    /// One identity; an absorbed id gives the one that absorbed it.
    pub async fn identity(&self, identity_id: u64) -> Result<pb::Identity, Error> {
        let request = pb::GetIdentityRequest { identity_id };
        call!(
            self,
            read,
            identity_service_client::IdentityServiceClient.get_identity(request)
        )
    }

    /// One page of identities, oldest first; [`Client::all_identities`] turns the pages.
    pub async fn list_identities(
        &self,
        request: pb::ListIdentitiesRequest,
    ) -> Result<pb::ListIdentitiesResponse, Error> {
        call!(
            self,
            read,
            identity_service_client::IdentityServiceClient.list_identities(request)
        )
    }

    /// Gives, changes or (empty name) takes away a name.
    pub async fn rename_identity(
        &self,
        mut request: pb::RenameIdentityRequest,
    ) -> Result<pb::Identity, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.rename_identity(request)
        )
    }

    /// A new identity, which nobody has been recognised as yet.
    pub async fn create_identity(
        &self,
        mut request: pb::CreateIdentityRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.create_identity(request)
        )
    }

    /// Changes what people say about an identity; what is absent stays.
    pub async fn update_identity(
        &self,
        mut request: pb::UpdateIdentityRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.update_identity(request)
        )
    }

    /// Makes the first identity a part of the second.
    pub async fn merge_identities(
        &self,
        mut request: pb::MergeIdentitiesRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.merge_identities(request)
        )
    }

    /// Makes tracks those of another identity, or of a new one.
    pub async fn move_tracks(
        &self,
        mut request: pb::MoveTracksRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.move_tracks(request)
        )
    }

    /// Makes a new identity of some of an identity's tracks.
    pub async fn split_identity(
        &self,
        mut request: pb::SplitIdentityRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.split_identity(request)
        )
    }

    /// Says that tracks are one person's: they become those of the first one's identity.
    pub async fn link_tracks(
        &self,
        mut request: pb::LinkTracksRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.link_tracks(request)
        )
    }

    /// Says that two identities, or two tracks, are two people.
    pub async fn separate(
        &self,
        mut request: pb::SeparateRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.separate(request)
        )
    }

    /// Says that tracks are not this person.
    pub async fn reject_tracks(
        &self,
        mut request: pb::RejectTracksRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.reject_tracks(request)
        )
    }

    /// Photos of one person, somebody who is known or new. If one cannot be used the answer has no edit, and says of
    /// each photo what it is.
    pub async fn enrol_person(
        &self,
        mut request: pb::EnrolPersonRequest,
    ) -> Result<pb::EnrolPersonResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.enrol_person(request)
        )
    }

    /// Takes a fact back; tracks stay where they are.
    pub async fn forget_fact(
        &self,
        mut request: pb::ForgetFactRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.forget_fact(request)
        )
    }

    /// One page of facts that hold, oldest first; [`Client::all_facts`] turns the pages.
    pub async fn list_facts(
        &self,
        request: pb::ListFactsRequest,
    ) -> Result<pb::ListFactsResponse, Error> {
        call!(
            self,
            read,
            identity_service_client::IdentityServiceClient.list_facts(request)
        )
    }

    /// One page of what waits for people to decide, newest first; [`Client::all_review`] turns the pages.
    pub async fn list_review(
        &self,
        request: pb::ListReviewRequest,
    ) -> Result<pb::ListReviewResponse, Error> {
        call!(
            self,
            read,
            identity_service_client::IdentityServiceClient.list_review(request)
        )
    }

    /// What clustering everybody anew would change, or, with `apply`, makes those changes. However long it takes: the
    /// timeout of the options does not count.
    pub async fn cluster_identities(
        &self,
        request: pb::ClusterIdentitiesRequest,
    ) -> Result<pb::ClusterIdentitiesResponse, Error> {
        let patient = Self {
            options: ClientOptions {
                timeout: None,
                ..self.options.clone()
            },
            ..self.clone()
        };
        call!(
            patient,
            write,
            identity_service_client::IdentityServiceClient.cluster_identities(request)
        )
    }

    /// Why a track belongs to its identity.
    pub async fn explain_track(&self, track_id: u64) -> Result<pb::TrackExplanation, Error> {
        let request = pb::ExplainTrackRequest { track_id };
        call!(
            self,
            read,
            identity_service_client::IdentityServiceClient.explain_track(request)
        )
    }

    /// Takes an edit back, whole or as far as can be.
    pub async fn undo_edit(
        &self,
        mut request: pb::UndoEditRequest,
    ) -> Result<pb::EditResponse, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            identity_service_client::IdentityServiceClient.undo_edit(request)
        )
    }

    /// One page of edits, newest first; [`Client::all_edits`] turns the pages.
    pub async fn list_edits(
        &self,
        request: pb::ListEditsRequest,
    ) -> Result<pb::ListEditsResponse, Error> {
        call!(
            self,
            read,
            identity_service_client::IdentityServiceClient.list_edits(request)
        )
    }

    /// Adds a file or stream; the server begins to read it at once, or when a place is free.
    pub async fn add_source(&self, mut request: pb::AddSourceRequest) -> Result<pb::Source, Error> {
        fill_request_id(&mut request.request_id)?;
        call!(
            self,
            write,
            source_service_client::SourceServiceClient.add_source(request)
        )
    }

    /// The files on the server that a folder or a pattern stands for, with those that may not be
    /// added. Adds nothing.
    pub async fn find_files(&self, pattern: String) -> Result<pb::FindFilesResponse, Error> {
        let request = pb::FindFilesRequest { pattern };
        call!(
            self,
            read,
            source_service_client::SourceServiceClient.find_files(request)
        )
    }

    /// One source with its state and counters.
    pub async fn source(&self, source_id: u64) -> Result<pb::Source, Error> {
        let request = pb::GetSourceRequest { source_id };
        call!(
            self,
            read,
            source_service_client::SourceServiceClient.get_source(request)
        )
    }

    /// One page of sources; [`Client::all_sources`] turns the pages.
    pub async fn list_sources(
        &self,
        request: pb::ListSourcesRequest,
    ) -> Result<pb::ListSourcesResponse, Error> {
        call!(
            self,
            read,
            source_service_client::SourceServiceClient.list_sources(request)
        )
    }

    /// Stops the worker of a source; what was seen stays.
    pub async fn stop_source(&self, request: pb::StopSourceRequest) -> Result<pb::Source, Error> {
        call!(
            self,
            write,
            source_service_client::SourceServiceClient.stop_source(request)
        )
    }

    /// One page of sightings, oldest first; [`Client::all_sightings`] turns the pages.
    pub async fn list_sightings(
        &self,
        request: pb::ListSightingsRequest,
    ) -> Result<pb::ListSightingsResponse, Error> {
        call!(
            self,
            read,
            sighting_service_client::SightingServiceClient.list_sightings(request)
        )
    }

    /// Every face that was seen on a source, box by box, in the order of the log. It is not begun again when it breaks
    /// off: ask anew.
    ///
    /// Cost: the server reads the part of its log in which the source was read.
    pub async fn track_faces(
        &self,
        request: pb::ListTrackFacesRequest,
    ) -> Result<TrackFaces, Error> {
        let opening = async {
            let mut client =
                pb::sighting_service_client::SightingServiceClient::new(self.channel.clone())
                    .max_decoding_message_size(self.options.message_bytes_max);
            client.list_track_faces(request).await
        };
        let stream = self.opened(opening).await?;
        Ok(TrackFaces::new(stream, self.endpoint.clone()))
    }

    /// The picture of a face as JPEG.
    pub async fn thumbnail(
        &self,
        request: pb::GetThumbnailRequest,
    ) -> Result<pb::Thumbnail, Error> {
        call!(
            self,
            read,
            sighting_service_client::SightingServiceClient.get_thumbnail(request)
        )
    }

    /// What happens, as it happens, without a gap over broken connections: see [`Watch`].
    /// The first connection is made here, so that a wrong cursor is known at once.
    pub async fn watch(&self, options: WatchOptions) -> Result<Watch, Error> {
        Watch::open(self.clone(), options).await
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(timeout) = self.options.timeout {
            request.set_timeout(timeout);
        }
        request
    }

    async fn read<T, F, R>(&self, call: F) -> Result<T, Error>
    where
        F: Fn() -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let attempts = async {
            let mut attempt = 0;
            loop {
                let error = match call().await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(status) => Error::from_status(&self.endpoint, &status),
                };
                if error.code() != Code::Unavailable || attempt >= self.options.read_retries {
                    return Err(error);
                }
                let pause = error
                    .retry_after()
                    .unwrap_or_else(|| random::pause(attempt));
                tokio::time::sleep(pause).await;
                attempt += 1;
            }
        };
        self.in_time(attempts).await
    }

    async fn write<T, F, R>(&self, call: F) -> Result<T, Error>
    where
        F: Fn() -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        self.opened(call()).await
    }

    /// One attempt: a mutation, or the opening of a stream.
    pub(crate) async fn opened<T, R>(&self, call: R) -> Result<T, Error>
    where
        R: Future<Output = Result<Response<T>, Status>>,
    {
        self.in_time(async {
            match call.await {
                Ok(response) => Ok(response.into_inner()),
                Err(status) => Err(Error::from_status(&self.endpoint, &status)),
            }
        })
        .await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.options.timeout {
            None => work.await,
            Some(after) => tokio::time::timeout(after, work).await.unwrap_or_else(|_| {
                Err(Error::Timeout {
                    endpoint: self.endpoint.clone(),
                    after,
                })
            }),
        }
    }
}

fn fill_request_id(request_id: &mut String) -> Result<(), Error> {
    if request_id.is_empty() {
        *request_id = random::request_id()?;
    }
    Ok(())
}
