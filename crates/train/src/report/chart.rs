//! A line chart as SVG.

/// Curves over the same steps.
pub struct Chart {
    /// What is shown.
    pub title: &'static str,
    /// At most two.
    pub curves: Vec<Curve>,
}

/// A curve.
pub struct Curve {
    /// Its name.
    pub name: &'static str,
    /// Steps and values.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 22.0;
const MARGIN: f64 = 8.0;
/// More points than pixels show nothing: neighbours are averaged.
const MAX_POINTS: usize = 300;

impl Chart {
    /// The chart as a figure; empty where no curve has a point.
    pub fn svg(&self) -> String {
        let curves: Vec<Vec<(f64, f64)>> = self.curves.iter().map(|curve| thinned(&curve.points)).collect();
        let all: Vec<(f64, f64)> = curves.iter().flatten().copied().collect();
        if all.is_empty() {
            return String::new();
        }
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
        };
        let (first, last) = range(&mut all.iter().map(|p| p.0));
        let (low, high) = range(&mut all.iter().map(|p| p.1));
        let ticks = ticks(low, high);
        let (bottom, top) = (low.min(ticks[0]), high.max(ticks[ticks.len() - 1]));
        let x = |step: f64| LEFT + (step - first) / (last - first).max(1e-9) * (WIDTH - LEFT - MARGIN);
        let y = |value: f64| {
            HEIGHT - BOTTOM - (value - bottom) / (top - bottom).max(1e-12) * (HEIGHT - BOTTOM - MARGIN)
        };
        let mut svg = String::new();
        for tick in &ticks {
            let at = y(*tick);
            svg += &format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                WIDTH - MARGIN,
                LEFT - 6.0,
                at + 4.0,
                label(*tick, ticks[1] - ticks[0])
            );
        }
        for (step, anchor) in [(first, "start"), (last, "end")] {
            svg += &format!(
                "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{step}</text>\n",
                x(step),
                HEIGHT - 6.0
            );
        }
        let mut key = String::new();
        for (i, (curve, points)) in self.curves.iter().zip(&curves).enumerate() {
            let Some((_, value)) = points.last() else { continue };
            let path: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
            svg += &match &path[..] {
                [_] => format!(
                    "<circle class=\"curve c{i}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\"/>\n",
                    x(points[0].0),
                    y(points[0].1)
                ),
                path => format!("<polyline class=\"curve c{i}\" points=\"{}\"/>\n", path.join(" ")),
            };
            key += &format!("<b class=\"c{i}\">{}</b> {}", curve.name, shown(*value));
        }
        format!(
            "<figure><figcaption>{} <span class=\"key\">{key}</span></figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n{svg}</svg></figure>\n",
            self.title, self.title
        )
    }
}

/// The curve in at most [`MAX_POINTS`] points, each the mean of neighbours; the first and last ones stay.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(MAX_POINTS).max(1);
    let mean = |part: &[(f64, f64)]| {
        let n = part.len() as f64;
        (part.iter().map(|p| p.0).sum::<f64>() / n, part.iter().map(|p| p.1).sum::<f64>() / n)
    };
    let mut thin: Vec<(f64, f64)> = points.chunks(size).map(mean).collect();
    if size > 1
        && let ([first, ..], [.., last]) = (points, points)
    {
        thin.insert(0, *first);
        thin.push(*last);
    }
    thin
}

/// Three to seven round numbers that span the range.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = (high - low).max(high.abs().max(1e-9) * 1e-3);
    let rough = span / 4.0;
    let unit = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|n| n * unit)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(unit * 10.0);
    let first = (low / step).floor();
    let n = (high / step).ceil() - first;
    (0..=n.clamp(1.0, 8.0) as usize).map(|i| (first + i as f64) * step).collect()
}

fn label(value: f64, step: f64) -> String {
    match value.abs() {
        x if x < 1e-12 => "0".into(),
        _ if step < 1e-3 => format!("{value:.1e}"),
        x if x >= 10_000.0 => format!("{:.0}k", value / 1000.0),
        _ => {
            let digits = (-step.log10().floor()).clamp(0.0, 4.0) as usize;
            format!("{value:.digits$}")
        }
    }
}

fn shown(value: f64) -> String {
    match value.abs() {
        x if x >= 1000.0 => format!("{value:.0}"),
        x if x >= 0.01 => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_span_the_range() {
        for (low, high) in [(0.0, 1.0), (1.37, 9.1), (2.0, 2.0), (-3.0, 12_345.0), (1e-5, 2e-3), (0.0, 0.0)] {
            let ticks = ticks(low, high);
            assert!((2..=9).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            assert!(
                ticks[0] <= low + 1e-9 && ticks[ticks.len() - 1] >= high - 1e-9,
                "{low} {high}: {ticks:?}"
            );
        }
        assert_eq!(ticks(0.2, 3.9), [0.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_ends() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), f64::from(i * 2))).collect();
        let thin = thinned(&points);
        assert!(
            thin.len() <= MAX_POINTS + 2 && thin[0] == points[0] && thin[thin.len() - 1] == points[9_999]
        );
        assert_eq!(thinned(&points[..3]), points[..3]);
    }
}
