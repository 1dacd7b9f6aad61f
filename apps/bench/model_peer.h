#pragma once
#include "apps/bench/model_work.h"
#include "apps/bench/peer.h"
#include "apps/bench/row.h"

namespace vitrine::apps {

/// The peer's side of a ModelWork: the same weights and batch, through a file.
class ModelPeer {
 public:
  /// @param compile  whether the peer may also try its compiler
  ModelPeer(Peer& peer, const ModelWork& work, bool compile);

  /// Runs both sides once and fills in the row's peer, check and differences: relative L2 distances to `exact`, the
  /// outputs in f64. Ours must be at most 1.2 times the peer's, or what rounding explains, for the logits and for all
  /// gradients together; the .cpp says more.
  void compare(ModelWork& work, const nn::NamedTensors& exact, BenchRow& row) const;
  double time(double budget_ms) const;
  double peak_bytes() const;  ///< by which one call makes the peer's process grow

 private:
  Peer& peer_;
};

}  // namespace vitrine::apps
