"""The former name of `dicube.integrations.pydicom`; importing it does the same."""

from dicube.integrations.pydicom import register as register
