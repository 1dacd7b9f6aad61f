#include "apps/rpe/term_maps.h"

#include <algorithm>
#include <cmath>

#include "apps/canvas.h"
#include "apps/cli.h"
#include "core/autograd.h"
#include "core/text.h"
#include "core/trace.h"

namespace vitrine::apps {
namespace {

/// Sums up the terms of each layer while it is installed.
class TermWatcher final : public trace::Watcher {
 public:
  explicit TermWatcher(int64_t tokens) : tokens_(tokens), previous_(trace::set_watcher(this)) {}
  ~TermWatcher() override { trace::set_watcher(previous_); }
  TermWatcher(const TermWatcher&) = delete;

  bool wants(const std::string& full_name) override { return full_name.ends_with(kLabel); }

  void see(const std::string& full_name, const Tensor& value) override {
    const int64_t pairs = tokens_ * tokens_;
    if (value.dim() < 2 || value.size(-1) != tokens_ || value.size(-2) != tokens_) return;  // of a window, say
    const std::string path = full_name.substr(0, full_name.size() - std::string(kLabel).size());
    auto at = std::find_if(layers_.begin(), layers_.end(), [&](const TermLayer& l) { return l.path == path; });
    if (at == layers_.end()) at = layers_.insert(at, {path, std::vector<double>(size_t(pairs))});
    const std::vector<double> all = value.to_vector();  // [images or 1, heads or 1, tokens, tokens]
    const double share = images * double(pairs) / double(all.size());
    for (size_t i = 0; i < all.size(); ++i) at->mean[i % size_t(pairs)] += share * all[i];
  }

  double images = 0;  ///< in the batch that runs
  /// The layers with their means over so many images.
  std::vector<TermLayer> means(double all_images) {
    for (TermLayer& layer : layers_)
      for (double& x : layer.mean) x /= all_images;
    return std::move(layers_);
  }

 private:
  static constexpr const char* kLabel = ".rpe";
  int64_t tokens_;
  trace::Watcher* previous_;
  std::vector<TermLayer> layers_;
};

/// Blue below 0, white at 0, red above.
Color term_color(double value, double largest) {
  constexpr double kBlue = 0.72, kRed = 0.07, kPaper = 0.98, kDeep = 0.5, kChroma = 0.18;
  const double part = largest > 0 ? std::min(std::abs(value) / largest, 1.0) : 0;
  return oklch(kPaper + (kDeep - kPaper) * part, kChroma * part, value < 0 ? kBlue : kRed);
}

/// "-0.31"
std::string level(double x) { return (x < 0 ? "-" : "") + significant(std::abs(x), 2); }

struct Layout {
  nn::TokenGrid grid;
  int64_t cell;
  static constexpr int64_t kMargin = 24, kGap = 18, kTitle = 40, kHeader = 26, kCaption = 16, kRowLabel = 130,
                           kScale = 96;

  explicit Layout(const nn::TokenGrid& g) : grid(g) {
    constexpr int64_t kPanel = 126, kLargest = 24, kSmallest = 2;
    cell = std::clamp(kPanel / std::max(g.height, g.width), kSmallest, kLargest);
  }
  int64_t pitch_x() const { return grid.width * cell + kGap; }
  int64_t pitch_y() const { return grid.height * cell + kCaption + kGap; }
  int64_t left(size_t column) const { return kMargin + kRowLabel + int64_t(column) * pitch_x(); }
  int64_t top(size_t row) const { return kMargin + kTitle + kHeader + int64_t(row) * pitch_y(); }
};

void draw_map(Canvas& canvas, const Layout& at, const std::vector<double>& map, Cell patch, double largest, int64_t x,
              int64_t y) {
  for (int64_t r = 0; r < at.grid.height; ++r)
    for (int64_t c = 0; c < at.grid.width; ++c)
      canvas.fill(x + c * at.cell, y + r * at.cell, at.cell, at.cell,
                  term_color(map[size_t(r * at.grid.width + c)], largest));
  canvas.frame(x - 1, y - 1, at.grid.width * at.cell + 2, at.grid.height * at.cell + 2, 1, {120, 120, 128});
  canvas.frame(x + patch.second * at.cell - 1, y + patch.first * at.cell - 1, at.cell + 2, at.cell + 2, 2, kBlack);
  const auto [low, high] = std::minmax_element(map.begin(), map.end());
  canvas.text(x, y + at.grid.height * at.cell + 5, format("{} to {}", level(*low), level(*high)), 1, {90, 90, 98});
}

/// The colours from the largest value at the top to its negative.
void draw_scale(Canvas& canvas, double largest, int64_t x, int64_t y, int64_t height) {
  constexpr int64_t kWidth = 16;
  for (int64_t i = 0; i < height; ++i)
    canvas.fill(x, y + i, kWidth, 1, term_color(1 - 2 * double(i) / double(height - 1), 1));
  canvas.frame(x - 1, y - 1, kWidth + 2, height + 2, 1, {120, 120, 128});
  for (const double part : {1.0, 0.0, -1.0})
    canvas.text(x + kWidth + 6, y + int64_t((1 - part) / 2 * double(height - 1)) - 3, level(part * largest), 1);
}

}  // namespace

std::vector<TermLayer> rpe_terms(models::Classifier& model, const std::vector<Tensor>& batches,
                                 const std::string& where) {
  const NoGrad no_grad;
  double images = 0;
  TermWatcher watcher(model.grid().tokens());
  for (const Tensor& batch : batches) {
    images += watcher.images = double(batch.size(0));
    (void)model.logits(batch);
  }
  std::vector<TermLayer> layers = watcher.means(images);
  check<IoError>(!layers.empty(),
                 "{}: the model's relative positions add nothing to its logits: it has none, or on v alone; train with "
                 "--rpe rpe-1.9-product-ctx-1-k, say",
                 where);
  return layers;
}

std::vector<double> term_map(const TermLayer& layer, const nn::TokenGrid& grid, Cell patch) {
  const int64_t tokens = grid.tokens(), query = grid.skip + patch.first * grid.width + patch.second;
  const auto row = layer.mean.begin() + query * tokens;
  std::vector<double> map(row + grid.skip, row + tokens);
  double mean = 0;
  for (const double x : map) mean += x / double(map.size());
  for (double& x : map) x -= mean;
  return map;
}

data::Image draw_terms(const std::string& title, const nn::TokenGrid& grid, const std::vector<TermLayer>& layers,
                       const std::vector<Cell>& patches) {
  constexpr int64_t kText = 2;
  double largest = 0;
  for (const auto& patch : patches)
    for (const TermLayer& layer : layers)
      for (const double x : term_map(layer, grid, patch)) largest = std::max(largest, std::abs(x));
  const Layout at(grid);
  const int64_t bottom = at.top(patches.size());
  const int64_t right = std::max(at.left(layers.size()) + at.kScale, at.kMargin + text_width(title, kText));
  Canvas canvas(bottom - at.kGap + at.kMargin, right + at.kMargin);
  canvas.text(at.kMargin, at.kMargin, title, kText);
  for (size_t c = 0; c < layers.size(); ++c)
    canvas.text(at.left(c), at.kMargin + at.kTitle, format("block {}", c), kText);
  for (size_t r = 0; r < patches.size(); ++r) {
    canvas.text(at.kMargin, at.top(r) + grid.height * at.cell / 2 - 7,
                format("patch {}, {}", patches[r].first, patches[r].second), kText);
    for (size_t c = 0; c < layers.size(); ++c)
      draw_map(canvas, at, term_map(layers[c], grid, patches[r]), patches[r], largest, at.left(c), at.top(r));
  }
  draw_scale(canvas, largest, at.left(layers.size()) + 8, at.top(0), grid.height * at.cell);
  return canvas.image();
}

}  // namespace vitrine::apps
