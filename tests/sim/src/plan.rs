//! Comparisons of intervals for operators: the load, how soon a new leecher finds peers, and how stale these are.

use std::fmt;

use plotters::prelude::*;

use crate::run::{Failed, run};
use crate::scenario::Scenario;
use crate::tally::{LEARNED_PEERS, Tally};

/// One swarm of a number of clients at one interval and one loss.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Clients that come and go.
    pub clients: u32,
    /// Hours that are simulated.
    pub hours: u32,
    /// The announce interval.
    pub interval_secs: u32,
    /// The share of datagrams that is lost.
    pub loss: f64,
}

/// What the simulation says.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// Requests that reached the tracker in each second.
    pub requests_per_second: f64,
    /// The share of the peers handed out that had already gone.
    pub gone: f64,
    /// Seconds since the last announce of a peer that was handed out, on average.
    pub age_secs: f64,
    /// What was measured.
    pub tally: Tally,
}

impl Question {
    /// Simulates it.
    ///
    /// # Errors
    /// A property does not hold.
    pub fn answer(self, seed: u64) -> Result<Answer, Box<Failed>> {
        let scenario = Scenario::plain(self.clients, self.hours, self.interval_secs, self.loss);
        let passed = run(seed, scenario, None)?;
        let tally = passed.tally;
        Ok(Answer {
            question: self,
            requests_per_second: ratio(passed.requests, passed.span_secs),
            gone: ratio(tally.peers_gone, tally.peers_handed),
            age_secs: ratio(tally.peers_age_millis_total, tally.peers_handed) / 1000.0,
            tally,
        })
    }
}

/// Answers as a table.
#[derive(Debug)]
pub struct Table<'a>(pub &'a [Answer]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8} {:>6} {:>11} {:>7} {:>7}",
            "interval", "loss", "requests/s", "gone", "age"
        )?;
        for peers in LEARNED_PEERS {
            write!(f, " {:>14}", format!("{peers} peers"))?;
        }
        writeln!(f)?;
        for answer in self.0 {
            let Question {
                interval_secs, loss, ..
            } = answer.question;
            let (interval, loss) = (format!("{interval_secs} s"), format!("{:.0} %", loss * 100.0));
            let gone = format!("{:.1} %", answer.gone * 100.0);
            let age = format!("{:.0} s", answer.age_secs);
            write!(
                f,
                "{interval:>8} {loss:>6} {:>11.3} {gone:>7} {age:>7}",
                answer.requests_per_second
            )?;
            for at in 0..LEARNED_PEERS.len() {
                let [half, most] = [50, 90].map(|percent| seconds(answer.tally.learned_within(at, percent)));
                write!(f, " {:>14}", format!("{half} / {most}"))?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "gone: peers handed out that had left or crashed; age: since their last announces; n peers: time until half \
             and nine tenths of the new leechers have learned of so many"
        )
    }
}

fn seconds(time: Option<u32>) -> String {
    time.map_or_else(|| "never".to_owned(), |secs| format!("{secs} s"))
}

/// Draws as SVG, for each answer, which share of the new leechers has learned of 20 peers after how long.
///
/// # Errors
/// It cannot be drawn.
pub fn plot(answers: &[Answer]) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    draw(answers, SVGBackend::with_string(&mut svg, (900, 560)))?;
    Ok(svg)
}

fn draw(answers: &[Answer], backend: SVGBackend<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let most = answers
        .iter()
        .map(|answer| answer.question.interval_secs)
        .max()
        .unwrap_or(1);
    let mut chart = ChartBuilder::on(&root)
        .caption(
            format!("New leechers that know {} peers", LEARNED_PEERS[PLOTTED]),
            ("sans-serif", 22),
        )
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(52)
        .build_cartesian_2d(0..most * 2, 0.0..100.0)?;
    chart
        .configure_mesh()
        .x_desc("seconds since the download began")
        .y_desc("share of leechers, %")
        .draw()?;
    for (number, answer) in answers.iter().enumerate() {
        let Question {
            interval_secs, loss, ..
        } = answer.question;
        let color = Palette99::pick(number).to_rgba();
        let points = (1..=100).filter_map(|percent| {
            let secs = answer.tally.learned_within(PLOTTED, percent)?;
            (secs <= most * 2).then_some((secs, f64::from(percent)))
        });
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(format!("interval {interval_secs} s, loss {:.0} %", loss * 100.0))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a simulation are far below 2^52"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Which of [`LEARNED_PEERS`] is plotted.
const PLOTTED: usize = 2;
