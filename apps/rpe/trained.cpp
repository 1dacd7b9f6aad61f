#include "apps/rpe/trained.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>

#include "apps/classifier/evaluate.h"
#include "apps/classifier/image_input.h"
#include "apps/classifier/spec.h"
#include "apps/rpe/term_maps.h"
#include "data/loader.h"

namespace vitrine::apps {
namespace {

/// "0,0;3,3" as cells of the grid; some typical ones for "".
std::vector<Cell> parse_patches(const std::string& text, const nn::TokenGrid& grid) {
  if (text.empty()) return typical_cells(grid.height, grid.width);
  std::vector<Cell> cells;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(';', begin), text.size());
    const std::string one = text.substr(begin, end - begin);
    long long row = 0, column = 0;
    int read = 0;
    const bool good = std::sscanf(one.c_str(), "%lld,%lld%n", &row, &column, &read) == 2 && size_t(read) == one.size();
    check<UsageError>(good, "rpe: --patches '{}': write ROW,COLUMN;ROW,COLUMN, as in 0,0;3,3", text);
    check<UsageError>(row >= 0 && row < grid.height && column >= 0 && column < grid.width,
                      "rpe: --patches: {} is outside of the model's grid of {} x {}", one, grid.height, grid.width);
    cells.emplace_back(row, column);
    begin = end + 1;
  }
  return cells;
}

/// The image of the file, or the first test images of the data that the model was trained on.
std::vector<Tensor> inputs(const TrainedRpe& flags, const LoadedClassifier& loaded, Device device, Dtype dtype) {
  const ClassifierSpec& spec = loaded.spec;
  if (!flags.image.empty()) {
    const Tensor input = image_input(data::decode_image(flags.image), spec.preprocessing);
    return {input.to(device).to(dtype)};
  }
  const auto dataset = spec.open_test(flags.checkpoint);
  check_fits(*loaded.model, *dataset);
  constexpr int64_t kBatch = 16;
  const data::Loader loader(*dataset, {.batch_size = std::min(kBatch, flags.images)});
  data::Epoch batches = loader.epoch(0);
  std::vector<Tensor> list;
  for (int64_t left = std::min(flags.images, dataset->size()); left > 0; left -= list.back().size(0)) {
    const Tensor images = batches.next()->images;
    list.push_back(images.narrow(0, 0, std::min(left, images.size(0))).to(device).to(dtype));
  }
  return list;
}

nlohmann::ordered_json terms_json(const nn::TokenGrid& grid, const std::vector<TermLayer>& layers,
                                  const std::vector<Cell>& patches, int64_t images) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const TermLayer& layer : layers) {
    nlohmann::ordered_json maps = nlohmann::ordered_json::array();
    for (const Cell& patch : patches) {
      const std::vector<double> map = term_map(layer, grid, patch);
      nlohmann::ordered_json rows = nlohmann::ordered_json::array();
      for (int64_t r = 0; r < grid.height; ++r)
        rows.push_back(std::vector<double>(map.begin() + r * grid.width, map.begin() + (r + 1) * grid.width));
      maps.push_back({{"patch", {patch.first, patch.second}}, {"term", rows}});
    }
    list.push_back({{"layer", layer.path}, {"maps", maps}});
  }
  return {{"height", grid.height}, {"width", grid.width}, {"images", images}, {"layers", list}};
}

}  // namespace

void TrainedRpe::add_to(CLI::App& app) {
  app.add_option("--checkpoint", checkpoint,
                 "in place of a method: what relative positions add to the logits of a classifier, file written by "
                 "vitrine train; --png draws it around some patches, by block");
  app.add_flag("--ema", ema, "with --checkpoint: use the averaged weights");
  app.add_option("--patches", patches, "with --checkpoint: rows and columns, as in 0,0;3,3 (default: a few)");
  app.add_option("--image", image, "with --checkpoint: one image file (default: the mean over test images)");
  app.add_option("--images", images, "with --checkpoint: how many test images")->capture_default_str();
}

int TrainedRpe::run(const CommonFlags& common, const std::string& png) const {
  check<UsageError>(!png.empty() || common.json, "rpe: --checkpoint needs --png FILE to draw into, or --json");
  check<UsageError>(images >= 1, "rpe: --images must be at least 1, got {}", images);
  const LoadedClassifier loaded = load_classifier(checkpoint, common.device(), ema);
  const nn::TokenGrid grid = loaded.model->grid();
  const std::vector<Cell> cells = parse_patches(patches, grid);
  const std::vector<Tensor> batches = inputs(*this, loaded, common.device(), common.dtype());
  int64_t count = 0;
  for (const Tensor& batch : batches) count += batch.size(0);
  const std::vector<TermLayer> layers = rpe_terms(*loaded.model, batches, checkpoint);
  if (!png.empty()) {
    const std::string title = format("{}: RPE term of the logits{}", loaded.spec.model,
                                     count > 1 ? format(", mean over {} images", count) : std::string());
    data::write_png(png, draw_terms(title, grid, layers, cells));
  }
  if (common.json) {
    print_json(terms_json(grid, layers, cells, count));
  } else {
    std::cout << format("{}: {} patches, {} blocks, {} images\n", png, cells.size(), layers.size(), count);
  }
  return kDone;
}

}  // namespace vitrine::apps
