#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>

#include "apps/canvas.h"
#include "apps/classifier/skipped.h"
#include "apps/train/input.h"
#include "apps/train/recipes.h"

namespace vitrine::apps {
namespace {

constexpr int64_t kColumns = 8, kLeastTile = 112, kGap = 6, kLine = 12;  // in pixels

struct Flags : CommonFlags {
  TrainConfig config;
  std::string out, recipe;
  std::function<std::vector<std::string>()> given;
  int64_t epoch = 0, count = 16;
  bool rate = false;
  int workers = 1;
};

/// Image i of a batch as it was before mean and deviation were taken out.
data::Image picture_of(const data::Batch& batch, int64_t i, const data::Preprocessing& p) {
  const int64_t pixels = p.height * p.width;
  const float* x = batch.images.data<float>() + 3 * i * pixels;
  data::Image image{p.height, p.width, 3, std::vector<uint8_t>(size_t(3 * pixels))};
  for (int64_t k = 0; k < 3 * pixels; ++k) {
    const size_t c = size_t(k / pixels);
    const double v = (double(x[k]) * p.std[c] + p.mean[c]) * 255;
    image.pixels[size_t(k % pixels) * 3 + c] = uint8_t(std::lround(std::clamp(v, 0.0, 255.0)));
  }
  return image;
}

/// "cat, dog 0.29": every class that has a share in an image with several.
std::string all_classes(const data::Batch& batch, int64_t i, const std::vector<std::string>& labels) {
  std::string text;
  const float* shares = batch.soft_targets.data<float>() + i * batch.soft_targets.size(1);
  for (size_t c = 0; c < labels.size(); ++c)
    if (shares[c] > 0)
      text += (text.empty() ? "" : ", ") + labels[c] + (shares[c] < 1 ? " " + significant(shares[c], 2) : "");
  return text;
}

/// "cat", or of a mixed image "cat 0.71" and "dog 0.29": smoothing apart, its share of each class.
std::vector<std::string> lines_of(const data::Batch& batch, int64_t i, int64_t partner, double smoothing,
                                  const std::vector<std::string>& labels) {
  const auto* ids = batch.targets.data<int64_t>();
  const std::string& own = labels[size_t(ids[i])];
  if (!batch.soft_targets.defined() || ids[i] == ids[partner]) return {own};
  const int64_t classes = batch.soft_targets.size(1);
  const double on = double(batch.soft_targets.data<float>()[i * classes + ids[i]]), off = smoothing / double(classes);
  const double share = smoothing < 1 ? std::clamp((on - off) / (1 - smoothing), 0.0, 1.0) : 1;
  if (share > 1 - 1e-6) return {own};
  return {format("{} {}", significant(share, 2), own),
          format("{} {}", significant(1 - share, 2), labels[size_t(ids[partner])])};
}

/// Draws `image`, each pixel `scale` times as large.
void draw(Canvas& canvas, int64_t left, int64_t top, const data::Image& image, int64_t scale) {
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x) {
      const uint8_t* p = image.row(y) + 3 * x;
      canvas.fill(left + x * scale, top + y * scale, scale, scale, {p[0], p[1], p[2]});
    }
}

/// Images per second of an epoch that nobody waits for.
double rate_of(const data::Loader& loader, int64_t epoch, SkippedImages& skipped) {
  const int64_t batches = loader.batches(), size = loader.options().batch_size;
  Progress progress("loader", "images", batches * size);
  data::Epoch all = loader.epoch(epoch);
  const auto start = std::chrono::steady_clock::now();
  while (all.next()) {
    skipped.tell(&progress);
    progress.update(all.position() * size);
  }
  progress.clear();
  return double(batches * size) / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int preview(Flags& flags) {
  flags.apply();
  flags.config.seed = flags.seed;
  apply_recipe(flags.recipe, flags.config, flags.given());
  flags.config.check_ranges();
  const TrainConfig& config = flags.config;
  const auto dataset = data::open_dataset(config.data, data::Split::train, config.seed);
  const data::Preprocessing input = input_of(config, *dataset);
  data::LoaderOptions options = loader_options(config, *dataset, input, dataset->num_classes(), flags.workers);
  options.binary_smoothing = {};  // shares are shown, though each may count in full
  const data::Loader loader(*dataset, options);
  check<UsageError>(loader.batches() > 0, "preview: --batch-size {} is larger than the {} images of {}",
                    config.batch_size, dataset->size(), dataset->description());
  const data::Batch batch = *loader.epoch(flags.epoch).next();
  SkippedImages skipped(*dataset);
  skipped.tell();

  const int64_t count = std::min(flags.count, config.batch_size), columns = std::min(kColumns, count);
  const int64_t rows = (count + columns - 1) / columns, group = std::min(config.mix_group, config.batch_size);
  const int64_t scale = (kLeastTile + input.width - 1) / input.width;
  const int64_t width = scale * input.width + kGap, height = scale * input.height + 2 * kLine + kGap;
  Canvas canvas(rows * height + kGap, columns * width + kGap);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t left = kGap + i % columns * width, top = kGap + i / columns * height;
    draw(canvas, left, top, picture_of(batch, i, input), scale);
    // The last group of a batch may be smaller.
    const int64_t first = i / group * group, last = std::min(first + group, config.batch_size) - 1;
    int64_t line = top + scale * input.height + 2;
    const double smoothing = config.bce_loss ? 0 : config.label_smoothing;
    for (std::string text : dataset->multi_label()
                                ? std::vector<std::string>{all_classes(batch, i, dataset->labels())}
                                : lines_of(batch, i, first + last - i, smoothing, dataset->labels())) {
      while (!text.empty() && text_width(text, 1) > width - kGap) text.pop_back();
      canvas.text(left, line, text, 1);
      line += kLine;
    }
  }
  data::write_png(flags.out, canvas.image());
  nlohmann::ordered_json found = {{"file", flags.out}, {"images", count}, {"size", input.height}};
  if (flags.rate) found["images_per_s"] = rate_of(loader, flags.epoch, skipped);
  if (flags.json) {
    print_json(found);
  } else {
    std::cout << flags.out << "\n";
    if (flags.rate) std::cout << format("{} images/s\n", significant(double(found["images_per_s"])));
  }
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  flags->given = add_train_flags(app, flags->config);
  add_recipe_flag(app, flags->recipe);
  app.add_option("--out", flags->out, "PNG file")->required();
  app.add_option("--count", flags->count, "images of the batch to show")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--epoch", flags->epoch, "epoch whose first batch is shown")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--rate", flags->rate, "also prepare all batches of the epoch, and tell how many images a second");
  app.add_option("--workers", flags->workers, "threads that prepare batches")
      ->capture_default_str()
      ->check(CLI::Range(0, 64));
  return [flags] { return preview(*flags); };
}

const RegisterCommand command({"preview", "One picture of a batch as train would see it, with its labels", setup});

}  // namespace
}  // namespace vitrine::apps
