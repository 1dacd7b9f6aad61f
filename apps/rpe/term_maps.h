#pragma once
#include <string>
#include <vector>

#include "apps/rpe/maps.h"
#include "core/tensor.h"
#include "models/classifier.h"

/// What relative positions add to the logits of a trained classifier, around chosen patches: Fig. 5 of the iRPE paper.
namespace vitrine::apps {

/// The logits' RPE term of one attention layer, mean over heads and images.
struct TermLayer {
  std::string path;
  std::vector<double> mean;  ///< [tokens, tokens]
};

/// Runs the model over the images and averages what its attention layers show as "rpe", in the order they run.
/// @param batches  of [B, 3, S, S], on the model's device, in the dtype to compute in
/// @throws IoError, beginning with `where`, if no layer adds a term to its logits
std::vector<TermLayer> rpe_terms(models::Classifier& model, const std::vector<Tensor>& batches,
                                 const std::string& where);

/// The term of one query for every cell of the grid, less its mean over them: softmax does not see a constant.
/// @param patch  row and column of the query
std::vector<double> term_map(const TermLayer& layer, const nn::TokenGrid& grid, Cell patch);

/// A row of maps for each patch, a column for each layer, all in one scale of colours, which stands beside them. Below
/// each map its smallest and largest value.
data::Image draw_terms(const std::string& title, const nn::TokenGrid& grid, const std::vector<TermLayer>& layers,
                       const std::vector<Cell>& patches);

}  // namespace vitrine::apps
