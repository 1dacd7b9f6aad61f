#include "apps/classifier/weights.h"

#include <iostream>

#include "apps/classifier/spec.h"
#include "models/official_names.h"

namespace vitrine::apps {

nn::NamedTensors weights_of(const data::Safetensors& content) {
  return models::official_names(tensors_with_prefix(content, ""));
}

models::PretrainedReport load_weights(models::Classifier& model, const nn::NamedTensors& weights, models::Fit fit,
                                      const std::string& file, models::PositionResize how) {
  try {
    models::PretrainedReport report = models::load_pretrained(model, weights, fit, how);
    std::cerr << format("{}: {}\n", file, report.text());
    return report;
  } catch (const ShapeError& e) {
    throw IoError(format("{}: {}", file, e.what()));
  }
}

nlohmann::ordered_json report_json(const models::PretrainedReport& report) {
  const auto notes = [](const std::vector<models::PretrainedReport::Note>& list) {
    nlohmann::ordered_json document = nlohmann::ordered_json::array();
    for (const auto& note : list) document.push_back({{"name", note.name}, {"what", note.what}});
    return document;
  };
  return {{"loaded", report.loaded},
          {"resized", notes(report.resized)},
          {"left_out", notes(report.left_out)},
          {"initial", report.initial}};
}

}  // namespace vitrine::apps
