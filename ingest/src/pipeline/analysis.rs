//! The analysing half of a run: frames in order, observations out.

use std::time::Instant;

use super::{
    PipelineSettings, RunError, Vision,
    hold::{Event, Hold, Place},
    look::{Looker, TimedEmbedder, split},
};
use crate::{
    attribute::TrackAttributes,
    observe::{
        Counters, Flow, FrameNo, MediaInfo, MediaTime, Observation, ObservationSink,
        TrackObservation,
    },
    shot::{CutFinder, Opening, Released},
    source::{Frame, FrameImage, FrameStamp},
    track::Tracker,
};

/// A frame until it is known whether it begins a shot.
struct Pending {
    stamp: FrameStamp,
    image: Box<dyn FrameImage>,
}

/// Assumed where the container does not say.
const RATE_DEFAULT: f64 = 25.0;

pub(super) struct Analysis<'a> {
    settings: &'a PipelineSettings,
    cuts: CutFinder<Pending>,
    looker: Looker<'a>,
    hold: Hold,
    tracker: Tracker,
    embedder: TimedEmbedder,
    attributes: TrackAttributes,
    counters: Counters,
    media_known: bool,
    /// Stream time of the last restart.
    restarted: MediaTime,
    last: Option<FrameStamp>,
    position: MediaTime,
    flow: Flow,
}

impl<'a> Analysis<'a> {
    pub(super) fn new(
        settings: &'a PipelineSettings,
        mut vision: Vision,
        position: MediaTime,
    ) -> Self {
        let attributes = TrackAttributes::new(std::mem::take(&mut vision.classifiers));
        let (looker, embedder) = split(settings, vision);
        Self {
            settings,
            cuts: CutFinder::new(settings.cuts),
            looker,
            hold: Hold::new(settings.gradual, RATE_DEFAULT),
            tracker: Tracker::new(settings.tracks),
            embedder,
            attributes,
            counters: Counters::default(),
            media_known: false,
            restarted: position,
            last: None,
            position,
            flow: Flow::Continue,
        }
    }

    /// Whether [`Analysis::set_media`] must come before the first frame.
    pub(super) fn wants_media(&self) -> bool {
        !self.media_known
    }

    /// Sets the frame rate, on which schedule and window lengths depend.
    pub(super) fn set_media(&mut self, media: Option<&MediaInfo>) {
        let rate = media.map_or(0.0, |m| m.frames_per_second);
        let rate = if rate.is_finite() && rate >= 1.0 {
            rate
        } else {
            RATE_DEFAULT
        };
        self.looker.set_rate(rate);
        self.hold = Hold::new(self.settings.gradual, rate);
        self.media_known = true;
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Stream time analysed so far.
    pub(super) fn position(&self) -> MediaTime {
        self.position
    }

    /// Takes the next frame.
    pub(super) fn push(
        &mut self,
        frame: Frame,
        sink: &mut dyn ObservationSink,
    ) -> Result<Flow, RunError> {
        let begun = Instant::now();
        let number = frame.stamp.number.get();
        let pending = Pending {
            stamp: frame.stamp,
            image: frame.image,
        };
        self.cuts.push(number, frame.grey, pending, frame.after_gap);
        self.counters.spend("shot", begun.elapsed());
        self.drain(false, sink)?;
        Ok(self.flow)
    }

    /// The source is at its end: everything is reported, and all of it is seen.
    pub(super) fn end(&mut self, sink: &mut dyn ObservationSink) -> Result<(), RunError> {
        self.drain(true, sink)?;
        self.close_shot(sink)?;
        if let Some(last) = self.last {
            // The next frame, if the file ever grows one, comes later than the last.
            let complete_up_to = MediaTime::from_micros(last.time.micros() + 1);
            self.checkpoint(complete_up_to, last.number.next(), sink)?;
        }
        Ok(())
    }

    /// The run ends here, in the middle of things: what is open is closed.
    pub(super) fn stop(&mut self, sink: &mut dyn ObservationSink) -> Result<(), RunError> {
        self.close_shot(sink)
    }

    fn drain(&mut self, ended: bool, sink: &mut dyn ObservationSink) -> Result<(), RunError> {
        loop {
            let begun = Instant::now();
            let released = self.cuts.pop(ended);
            self.counters.spend("shot", begun.elapsed());
            let Some(released) = released else {
                return Ok(());
            };
            self.take(released, sink)?;
        }
    }

    fn take(
        &mut self,
        released: Released<Pending>,
        sink: &mut dyn ObservationSink,
    ) -> Result<(), RunError> {
        let Released {
            item: Pending { stamp, image },
            grey,
            opening,
        } = released;
        match opening {
            Opening::First => self.counters.shots += 1,
            Opening::Cut => {
                self.counters.shots += 1;
                self.close_shot(sink)?;
                self.restart_at(stamp, sink)?;
            }
            Opening::Inside if self.is_quiet(stamp) => {
                self.close_shot(sink)?;
                self.restart_at(stamp, sink)?;
            }
            Opening::Inside => {}
        }
        let faces = self
            .looker
            .look(stamp, &grey, image.as_ref(), &mut self.counters)?;
        let begun = Instant::now();
        self.hold.push(&grey, Event { stamp, faces });
        self.counters.spend("shot", begun.elapsed());
        self.last = Some(stamp);
        self.release(sink)?;
        self.position = stamp.time;
        Ok(())
    }

    /// Whether nobody has been seen for long enough to begin anew before `stamp`. A moment without
    /// any suspected transition is preferred, for some time.
    fn is_quiet(&self, stamp: FrameStamp) -> bool {
        let since = stamp.time.since(self.restarted);
        let after = self.settings.checkpoint_after;
        let settled = self.hold.is_clear() || (since >= 2 * after && self.hold.is_faceless());
        since >= after && self.tracker.is_idle() && settled
    }

    /// Begins anew at `stamp`: from here on nothing depends on what was before.
    fn restart_at(
        &mut self,
        stamp: FrameStamp,
        sink: &mut dyn ObservationSink,
    ) -> Result<(), RunError> {
        self.cuts.restart_at_last();
        self.looker.restart();
        self.hold.restart();
        self.tracker.close_all(None);
        self.restarted = stamp.time;
        self.checkpoint(stamp.time, stamp.number, sink)
    }

    /// Releases what is held and closes all tracks.
    fn close_shot(&mut self, sink: &mut dyn ObservationSink) -> Result<(), RunError> {
        self.hold.finish();
        self.release(sink)?;
        let closed = self.tracker.close_all(None);
        self.write(closed, sink)
    }

    fn release(&mut self, sink: &mut dyn ObservationSink) -> Result<(), RunError> {
        while let Some((event, place)) = self.hold.pop() {
            let mut mixed = true;
            match place {
                Place::Clear => mixed = false,
                Place::Mixed => {}
                Place::Boundary { before, after } => {
                    self.cross(event.stamp, before, after, sink)?
                }
            }
            self.follow(event, mixed, sink)?;
        }
        Ok(())
    }

    /// Crosses the middle of a transition.
    fn cross(
        &mut self,
        stamp: FrameStamp,
        before: u64,
        after: u64,
        sink: &mut dyn ObservationSink,
    ) -> Result<(), RunError> {
        let (number, step) = (stamp.number.get(), self.looker.longest_wait());
        let grace = FrameNo::new(number.saturating_sub(before + step));
        let closed = self.tracker.close_all(Some(grace));
        self.tracker
            .begin_softly(stamp, FrameNo::new(number + after + step));
        self.counters.shots += 1;
        self.write(closed, sink)
    }

    fn follow(
        &mut self,
        event: Event,
        mixed: bool,
        sink: &mut dyn ObservationSink,
    ) -> Result<(), RunError> {
        let Event { stamp, faces } = event;
        let Some(mut faces) = faces else {
            self.tracker.pass(stamp);
            return Ok(());
        };
        if mixed {
            // A mixture of two people must not become an exemplar of either.
            faces.iter_mut().for_each(|face| face.good = None);
        }
        let begun = Instant::now();
        let observations = self.tracker.detect(stamp, faces, &mut self.embedder);
        let (embedding, count) = self.embedder.take();
        self.counters.spend("embed", embedding);
        self.counters
            .spend("track", begun.elapsed().saturating_sub(embedding));
        self.counters.faces_embedded += count;
        self.counters.tracks_without_exemplar = self.tracker.without_exemplar();
        self.write(observations?, sink)
    }

    fn write(
        &mut self,
        observations: Vec<TrackObservation>,
        sink: &mut dyn ObservationSink,
    ) -> Result<(), RunError> {
        for mut observation in observations {
            if self.attributes.are_wanted() {
                let begun = Instant::now();
                self.attributes.fill(&mut observation)?;
                self.counters.spend("attributes", begun.elapsed());
            }
            if observation.revision == 1 {
                self.counters.tracks += 1;
            }
            self.send(Observation::Track(observation), sink)?;
        }
        Ok(())
    }

    fn checkpoint(
        &mut self,
        complete_up_to: MediaTime,
        frame: FrameNo,
        sink: &mut dyn ObservationSink,
    ) -> Result<(), RunError> {
        self.send(
            Observation::Checkpoint {
                complete_up_to,
                frame,
            },
            sink,
        )
    }

    fn send(
        &mut self,
        observation: Observation,
        sink: &mut dyn ObservationSink,
    ) -> Result<(), RunError> {
        let begun = Instant::now();
        let flow = sink.observe(observation);
        self.counters.spend("write", begun.elapsed());
        if flow? == Flow::Stop {
            self.flow = Flow::Stop;
        }
        Ok(())
    }
}
