#include "models/classifier.h"

#include <algorithm>

#include "core/text.h"
#include "models/deit/deit.h"
#include "models/swin/swin.h"

namespace vitrine::models {
namespace {
constexpr const char* kApes[] = {"learned", "sincos", "none", "peg"};

/// The preset of that name with what all families have taken from the options, if there is one.
template <class Config>
std::optional<Config> preset(const std::vector<Config>& presets, const std::string& name,
                             const ClassifierOptions& options) {
  const auto found = std::find_if(presets.begin(), presets.end(), [&](const Config& c) { return c.name == name; });
  if (found == presets.end()) return std::nullopt;
  Config config = *found;
  config.num_classes = options.num_classes.value_or(config.num_classes);
  config.image_size = options.image_size.value_or(config.image_size);
  config.ape = options.ape.value_or(config.ape);
  config.drop_path = options.drop_path;
  config.dropout = options.dropout;
  return config;
}

}  // namespace

std::string to_string(Ape ape) { return kApes[int(ape)]; }

Ape parse_ape(const std::string& text) {
  const auto* at = std::find(std::begin(kApes), std::end(kApes), text);
  check<ValueError>(at != std::end(kApes), "unknown absolute encoding '{}': learned, sincos, none or peg", text);
  return Ape(at - kApes);
}

std::vector<std::string> classifier_names() {
  std::vector<std::string> names;
  for (const DeiTConfig& config : deit_presets()) names.push_back(config.name);
  for (const SwinConfig& config : swin_presets()) names.push_back(config.name);
  return names;
}

std::unique_ptr<Classifier> make_classifier(nn::Scope scope, const std::string& name,
                                            const ClassifierOptions& options) {
  if (auto deit = preset(deit_presets(), name, options)) {
    if (options.rpe) {
      const nn::RpeChoice choice = nn::parse_rpe_choice(*options.rpe);
      deit->rpe = choice.rpe, deit->rival = choice.rival;
    }
    return std::make_unique<DeiT>(std::move(scope), *deit);
  }
  if (auto swin = preset(swin_presets(), name, options)) {
    if (options.rpe) swin->rpe = nn::parse_rpe_but_rivals(name, *options.rpe), swin->bias = false;
    return std::make_unique<Swin>(std::move(scope), *swin);
  }
  throw ValueError(
      format("unknown model '{}'; did you mean {}? See vitrine models", name, nearest(name, classifier_names())));
}

}  // namespace vitrine::models
