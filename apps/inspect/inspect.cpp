#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/classifier/checkpoint_flags.h"
#include "apps/classifier/image_input.h"
#include "apps/inspect/html.h"
#include "apps/inspect/page.h"
#include "core/files.h"
#include "core/parallel.h"

namespace vitrine::apps {
namespace {

struct Flags : CheckpointFlags {
  std::string image, out;
};

/// The input turned back into a picture.
data::Image seen_by_model(const Tensor& input, const data::Preprocessing& p) {
  data::Image image{.height = p.height, .width = p.width, .channels = 3, .pixels = {}};
  const std::vector<double> x = input.to_vector();
  const size_t pixels = size_t(p.height * p.width);
  for (size_t i = 0; i < pixels; ++i)
    for (size_t c = 0; c < 3; ++c)
      image.pixels.push_back(
          uint8_t(std::clamp(std::lround(255 * (x[c * pixels + i] * p.std[c] + p.mean[c])), 0L, 255L)));
  return image;
}

std::vector<std::pair<std::string, std::string>> facts(const Flags& flags, const LoadedClassifier& loaded,
                                                       const Study& study, Device device) {
  const nn::TokenGrid grid = study.grid;
  const ClassifierSpec& spec = loaded.spec;
  return {{"checkpoint", flags.checkpoint + (flags.ema ? ", averaged weights" : "")},
          {"image", flags.image},
          {"trained on", spec.data.empty() ? "not stated" : spec.data},
          {"classes", std::to_string(loaded.model->num_classes())},
          {"parameters", std::to_string(loaded.model->parameter_count())},
          {"tokens", format("{} = {} + {} × {}", grid.tokens(), grid.skip, grid.height, grid.width)},
          {"relative position", study.rpe                 ? to_string(*study.rpe)
                                : study.attention.empty() ? "not looked at"
                                                          : "none"},
          {"precision", flags.precision},
          {"device", device.type == DeviceType::cpu ? format("cpu, {} threads", num_threads()) : to_string(device)},
          {"program", program_version()}};
}

int inspect(const Flags& flags) {
  flags.apply();
  const Device device = flags.device();
  const LoadedClassifier loaded = flags.load();
  data::Image given = data::decode_image(flags.image);
  const Tensor input = image_input(given, loaded.spec.preprocessing);
  const Study study = study_classifier(*loaded.model, input.to(device).to(flags.dtype()));
  const Page page{.study = study,
                  .spec = loaded.spec,
                  .checkpoint = flags.checkpoint,
                  .image_file = flags.image,
                  .facts = facts(flags, loaded, study, device),
                  .given = std::move(given),
                  .seen = seen_by_model(input, loaded.spec.preprocessing),
                  .dtype_and_device = format("{} {}", flags.dtype(), device)};
  const std::string html = inspect_page(page);
  write_file_atomically(flags.out, [&](std::ostream& out) { out << html; });
  if (flags.json) {
    nlohmann::ordered_json shares = nlohmann::ordered_json::array();
    for (const AttentionStudy& layer : study.attention)
      shares.push_back({{"layer", layer.path}, {"rpe_share", layer.share}});
    print_json({{"file", flags.out}, {"bytes", html.size()}, {"queries", study.queries.size()}, {"attention", shares}});
  } else {
    std::cout << format("{}: {}\n", flags.out, bytes_text(int64_t(html.size())));
  }
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  app.add_option("IMAGE", flags->image, "JPEG, PNG, BMP, GIF, PSD or PNM file")->required();
  app.add_option("--out", flags->out, "the page to write, FILE.html")->required();
  return [flags] { return inspect(*flags); };
}

const RegisterCommand command({"inspect", "One page about an image in a classifier: attention, tape, times, memory",
                               setup});

}  // namespace
}  // namespace vitrine::apps
